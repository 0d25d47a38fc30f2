import io.netty.bootstrap.ServerBootstrap;
import io.netty.buffer.Unpooled;
import io.netty.channel.Channel;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.SimpleChannelInboundHandler;
import io.netty.channel.nio.NioEventLoopGroup;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.http.DefaultFullHttpResponse;
import io.netty.handler.codec.http.FullHttpRequest;
import io.netty.handler.codec.http.HttpObjectAggregator;
import io.netty.handler.codec.http.HttpResponseStatus;
import io.netty.handler.codec.http.HttpServerCodec;
import io.netty.handler.codec.http.HttpVersion;
import io.netty.util.CharsetUtil;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;

/** A minimal long-poll server on Netty, as Plurk had: NettyPolls PORT. */
public class NettyPolls {
    static final long HOLD = 30;
    static final Map<Channel, Object> held = new ConcurrentHashMap<>();

    static void answer(Channel channel, Object poll, String body) {
        if (held.remove(channel, poll)) say(channel, body);
    }

    static void say(Channel channel, String body) {
        var content = Unpooled.copiedBuffer(body, CharsetUtil.UTF_8);
        var response = new DefaultFullHttpResponse(HttpVersion.HTTP_1_1, HttpResponseStatus.OK, content);
        response.headers().set("Content-Length", content.readableBytes());
        channel.writeAndFlush(response);
    }

    static class Polls extends SimpleChannelInboundHandler<FullHttpRequest> {
        @Override
        protected void channelRead0(ChannelHandlerContext context, FullHttpRequest request) {
            if (request.uri().equals("/poll")) {
                Object poll = new Object();
                held.put(context.channel(), poll);
                context.executor().schedule(
                    () -> answer(context.channel(), poll, "{}"), HOLD, TimeUnit.SECONDS);
            } else {
                String body = request.content().toString(CharsetUtil.UTF_8);
                say(context.channel(), "ok");
                held.forEach((channel, poll) -> answer(channel, poll, body));
            }
        }

        @Override
        public void channelInactive(ChannelHandlerContext context) {
            held.remove(context.channel());
        }
    }

    public static void main(String[] args) throws Exception {
        new ServerBootstrap()
            .group(new NioEventLoopGroup(1), new NioEventLoopGroup(1))
            .channel(NioServerSocketChannel.class)
            .option(ChannelOption.SO_BACKLOG, 4096)
            .childHandler(new ChannelInitializer<Channel>() {
                @Override
                protected void initChannel(Channel channel) {
                    channel.pipeline().addLast(
                        new HttpServerCodec(), new HttpObjectAggregator(65536), new Polls());
                }
            })
            .bind("127.0.0.1", Integer.parseInt(args[0])).sync()
            .channel().closeFuture().sync();
    }
}
