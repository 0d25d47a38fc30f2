// Socket.IO 4: node socketio.js PORT
const http = require('http');
const { Server } = require('socket.io');
const { onPublish } = require('./publish.js');

const server = http.createServer();
const io = new Server(server);
const others = server.listeners('request').slice();
server.removeAllListeners('request');
server.on('request', onPublish(
  (text) => io.emit('message', JSON.parse(text)),
  (request, response) => others.forEach((listener) => listener.call(server, request, response)),
));
server.keepAliveTimeout = 600000;
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
