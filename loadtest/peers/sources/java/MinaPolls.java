import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.mina.core.buffer.IoBuffer;
import org.apache.mina.core.service.IoHandlerAdapter;
import org.apache.mina.core.session.IoSession;
import org.apache.mina.transport.socket.nio.NioSocketAcceptor;

/** A minimal long-poll server on MINA, which has sockets and no HTTP: MinaPolls PORT. */
public class MinaPolls extends IoHandlerAdapter {
    static final long HOLD = 30;
    static final Map<IoSession, Object> held = new ConcurrentHashMap<>();
    static final ScheduledExecutorService timers = Executors.newSingleThreadScheduledExecutor();

    static void answer(IoSession session, Object poll, String body) {
        if (!held.remove(session, poll)) return;
        say(session, body);
    }

    static void say(IoSession session, String body) {
        String response = "HTTP/1.1 200 OK\r\nContent-Length: " + body.length() + "\r\n\r\n" + body;
        session.write(IoBuffer.wrap(response.getBytes(StandardCharsets.ISO_8859_1)));
    }

    @Override
    public void messageReceived(IoSession session, Object message) {
        IoBuffer buffer = (IoBuffer) message;
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        Object kept = session.removeAttribute("kept");
        if (kept != null) text = kept + text;
        int end = text.indexOf("\r\n\r\n") + 4;
        int length = 0;
        if (end >= 4) {
            int at = text.toLowerCase().indexOf("content-length:");
            if (at >= 0 && at < end) {
                length = Integer.parseInt(text.substring(at + 15, text.indexOf("\r\n", at)).trim());
            }
        }
        if (end < 4 || text.length() < end + length) {
            session.setAttribute("kept", text);
        } else if (text.startsWith("POST")) {
            String body = text.substring(end, end + length);
            say(session, "ok");
            held.forEach((waiting, poll) -> answer(waiting, poll, body));
        } else {
            Object poll = new Object();
            held.put(session, poll);
            timers.schedule(() -> answer(session, poll, "{}"), HOLD, TimeUnit.SECONDS);
        }
    }

    @Override
    public void sessionClosed(IoSession session) {
        held.remove(session);
    }

    @Override
    public void exceptionCaught(IoSession session, Throwable cause) {
        session.closeNow();
    }

    public static void main(String[] args) throws Exception {
        NioSocketAcceptor acceptor = new NioSocketAcceptor(1);
        acceptor.setBacklog(4096);
        acceptor.setReuseAddress(true);
        acceptor.setHandler(new MinaPolls());
        acceptor.bind(new InetSocketAddress("127.0.0.1", Integer.parseInt(args[0])));
    }
}
