import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.StringReader;
import java.text.ParseException;
import org.cometd.bayeux.Promise;
import org.cometd.bayeux.server.BayeuxServer;
import org.cometd.common.JettyJSONContextClient;
import org.cometd.server.http.JSONHttpTransport;
import org.cometd.server.http.jakarta.CometDServlet;
import org.cometd.server.websocket.jetty.JettyWebSocketTransport;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Context;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.websocket.server.WebSocketUpgradeHandler;

/** CometD's server in embedded Jetty, with its defaults but a timeout of 30 s: CometdPeer PORT. */
public class CometdPeer {
    public static void main(String[] args) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server, 1, 1);
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(args[0]));
        connector.setAcceptQueueSize(4096);
        connector.setIdleTimeout(600_000);
        server.addConnector(connector);
        ServletContextHandler context = new ServletContextHandler("/", false, false);
        server.setHandler(context);
        context.insertHandler(WebSocketUpgradeHandler.from(server, context));
        ServletHolder cometd = new ServletHolder(new Both(context.getContext()));
        cometd.setInitParameter("timeout", "30000");
        cometd.setInitParameter("cometdURLMapping", "/cometd/*");
        cometd.setInitParameter("ws.idleTimeout", "600000");
        cometd.setInitParameter(
            "transports", JettyWebSocketTransport.class.getName() + "," + JSONHttpTransport.class.getName());
        cometd.setAsyncSupported(true);
        cometd.setInitOrder(1);
        context.addServlet(cometd, "/cometd/*");
        context.addServlet(new ServletHolder(new Publish()), "/publish");
        server.start();
        server.join();
    }

    /** CometD's servlet for polls, and its WebSocket transport for Jetty's own API, which looks for the context. */
    static class Both extends CometDServlet {
        private final transient Context context;

        Both(Context context) {
            this.context = context;
        }

        @Override
        protected BayeuxServer newBayeuxServer() {
            BayeuxServer bayeux = super.newBayeuxServer();
            bayeux.setOption(Context.class.getName(), context);
            return bayeux;
        }
    }

    static class Publish extends HttpServlet {
        @Override
        protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
            String text = new String(request.getInputStream().readAllBytes());
            BayeuxServer bayeux = (BayeuxServer) getServletContext().getAttribute(BayeuxServer.ATTRIBUTE);
            try {
                Object data = new JettyJSONContextClient().getParser().parse(new StringReader(text), Object.class);
                bayeux.getChannel("/bench/room").publish(null, data, Promise.noop());
            } catch (ParseException wrong) {
                throw new IOException(wrong);
            }
            response.getOutputStream().print("ok");
        }
    }
}
