// POST /publish hands its body to `publish`; other requests go to `otherwise`.
exports.onPublish = (publish, otherwise) => (request, response) => {
  if (request.url !== '/publish') {
    if (otherwise) otherwise(request, response);
    return;
  }
  const parts = [];
  request.on('data', (part) => parts.push(part));
  request.on('end', () => {
    response.end('ok');
    publish(Buffer.concat(parts).toString());
  });
};
