// Faye 1.4 with its own in-memory engine: node faye.js PORT
const faye = require('faye');
const http = require('http');
const { onPublish } = require('./publish.js');

const bayeux = new faye.NodeAdapter({ mount: '/bayeux', timeout: 30 });
const server = http.createServer(onPublish((text) => {
  bayeux.getClient().publish('/bench/room', JSON.parse(text));
}));
bayeux.attach(server);
server.keepAliveTimeout = 600000;
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
