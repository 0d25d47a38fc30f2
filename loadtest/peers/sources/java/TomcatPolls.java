import jakarta.servlet.AsyncContext;
import jakarta.servlet.AsyncEvent;
import jakarta.servlet.AsyncListener;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.catalina.Context;
import org.apache.catalina.Wrapper;
import org.apache.catalina.connector.Connector;
import org.apache.catalina.startup.Tomcat;

/** A minimal long-poll server on Tomcat: TomcatPolls PORT. */
public class TomcatPolls {
    static final long HOLD = 30_000;
    static final Map<AsyncContext, Boolean> held = new ConcurrentHashMap<>();

    static void answer(AsyncContext poll, byte[] body) {
        if (held.remove(poll) == null) return;
        try {
            poll.getResponse().setContentLength(body.length);
            poll.getResponse().getOutputStream().write(body);
            poll.complete();
        } catch (IOException gone) {
            poll.complete();
        }
    }

    static class Ends implements AsyncListener {
        public void onComplete(AsyncEvent event) {}
        public void onStartAsync(AsyncEvent event) {}
        public void onError(AsyncEvent event) { held.remove(event.getAsyncContext()); }
        public void onTimeout(AsyncEvent event) { answer(event.getAsyncContext(), "{}".getBytes()); }
    }

    static class Poll extends HttpServlet {
        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) {
            AsyncContext poll = request.startAsync();
            poll.setTimeout(HOLD);
            poll.addListener(new Ends());
            held.put(poll, true);
        }
    }

    static class Publish extends HttpServlet {
        @Override
        protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
            byte[] body = request.getInputStream().readAllBytes();
            response.getOutputStream().print("ok");
            response.flushBuffer();
            held.keySet().forEach(poll -> answer(poll, body));
        }
    }

    static void add(Context context, String name, HttpServlet servlet) {
        Wrapper wrapper = Tomcat.addServlet(context, name, servlet);
        wrapper.setAsyncSupported(true);
        wrapper.setLoadOnStartup(1);
        context.addServletMappingDecoded("/" + name, name);
    }

    public static void main(String[] args) throws Exception {
        Tomcat tomcat = new Tomcat();
        tomcat.setBaseDir(Files.createTempDirectory("tomcat").toString());
        Connector connector = new Connector("org.apache.coyote.http11.Http11NioProtocol");
        connector.setPort(Integer.parseInt(args[0]));
        connector.setProperty("address", "127.0.0.1");
        connector.setProperty("acceptCount", "4096");
        connector.setProperty("maxConnections", "20000");
        connector.setProperty("maxKeepAliveRequests", "-1");
        connector.setProperty("keepAliveTimeout", "600000");
        tomcat.setConnector(connector);
        Context context = tomcat.addContext("", null);
        add(context, "poll", new Poll());
        add(context, "publish", new Publish());
        tomcat.start();
        tomcat.getServer().await();
    }
}
