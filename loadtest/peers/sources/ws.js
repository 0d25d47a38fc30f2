// ws 8, a bare set of sockets: node ws.js PORT
const http = require('http');
const { WebSocketServer } = require('ws');
const { onPublish } = require('./publish.js');

const sockets = new WebSocketServer({ noServer: true });
const server = http.createServer(onPublish((text) => {
  for (const socket of sockets.clients) socket.send(text, { binary: false });
}));
server.on('upgrade', (request, socket, head) => {
  sockets.handleUpgrade(request, socket, head, (opened) => opened);
});
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
