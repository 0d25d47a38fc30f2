import java.nio.ByteBuffer;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.eclipse.jetty.http.HttpHeader;
import org.eclipse.jetty.io.Content;
import org.eclipse.jetty.server.Handler;
import org.eclipse.jetty.server.Request;
import org.eclipse.jetty.server.Response;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.util.Callback;
import org.eclipse.jetty.util.thread.Scheduler;

/** A minimal long-poll server on Jetty: JettyPolls PORT. */
public class JettyPolls {
    static final long HOLD = 30;
    static final Map<Held, Boolean> held = new ConcurrentHashMap<>();

    record Held(Request request, Response response, Callback callback) {}

    static void answer(Held poll, byte[] body) {
        if (held.remove(poll) == null) return;
        poll.response.getHeaders().put(HttpHeader.CONTENT_LENGTH, body.length);
        poll.response.write(true, ByteBuffer.wrap(body), poll.callback);
    }

    public static void main(String[] args) throws Exception {
        Server server = new Server();
        ServerConnector connector = new ServerConnector(server, 1, 1);
        connector.setHost("127.0.0.1");
        connector.setPort(Integer.parseInt(args[0]));
        connector.setAcceptQueueSize(4096);
        connector.setIdleTimeout(600_000);
        server.addConnector(connector);
        server.setHandler(new Handler.Abstract.NonBlocking() {
            @Override
            public boolean handle(Request request, Response response, Callback callback) throws Exception {
                if (Request.getPathInContext(request).equals("/poll")) {
                    Held poll = new Held(request, response, callback);
                    held.put(poll, true);
                    Scheduler scheduler = request.getComponents().getScheduler();
                    scheduler.schedule(() -> answer(poll, "{}".getBytes()), HOLD, TimeUnit.SECONDS);
                    return true;
                }
                byte[] body = Content.Source.asString(request).getBytes();
                response.write(true, ByteBuffer.wrap("ok".getBytes()), callback);
                held.keySet().forEach(poll -> answer(poll, body));
                return true;
            }
        });
        server.start();
        server.join();
    }
}
