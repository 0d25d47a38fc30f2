/* The floor of the broadcast benchmark: accept clients, send() to each of them when told.
 *
 * usage: floor PORT BYTES
 * Listens on 127.0.0.1:PORT and prints "ready". A client is greeted with one message of
 * BYTES bytes, so that it knows to be on the list. Each line "send" on standard
 * input sends one such message to every connection; what clients send is read
 * and dropped, as a poll would be read. Ends with its standard input.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 512
#define MOST 65536

static int clients[MOST];
static int count;
static char scratch[16384];

static void send_to(int client, const char *message, size_t bytes)
{
    if (send(client, message, bytes, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)bytes) {
        perror("send");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    size_t bytes = strtoul(argv[2], NULL, 10);
    char *message = malloc(bytes);
    memset(message, 'x', bytes);

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) {
        perror("listen");
        return 1;
    }
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, ready[EVENTS];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = 0;
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    puts("ready");
    fflush(stdout);

    for (;;) {
        int n = epoll_wait(epoll, ready, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = ready[i].data.fd;
            if (fd == listener) {
                int client = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
                if (client < 0 || count == MOST)
                    continue;
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
                event.events = EPOLLIN;
                event.data.fd = client;
                epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
                clients[count++] = client;
                send_to(client, message, bytes);
            } else if (fd == 0) {
                ssize_t got = read(0, scratch, sizeof scratch);
                if (got <= 0)
                    return 0;
                for (ssize_t k = 0; k < got; k++)
                    if (scratch[k] == '\n')
                        for (int i = 0; i < count; i++)
                            send_to(clients[i], message, bytes);
            } else if (recv(fd, scratch, sizeof scratch, 0) == 0) {
                epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL); /* a client went: the run ends */
            }
        }
    }
}
