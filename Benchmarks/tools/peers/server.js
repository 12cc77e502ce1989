// A peer: Node.js net.   node server.js PORT MODE
'use strict';
const net = require('net');
const [port, mode] = [Number(process.argv[2]), process.argv[3]];
const chunk = Buffer.alloc(65536, Uint8Array.from({ length: 256 }, (_, i) => i));

const modes = {
  echo(s) { s.on('data', (d) => s.write(d)); },
  lines(s) {
    let rest = null;
    s.on('data', (d) => {
      if (rest) d = Buffer.concat([rest, d]);
      let at = 0;
      s.cork(); // all replies of one read leave together
      for (let nl; (nl = d.indexOf(10, at)) >= 0; at = nl + 1) s.write(d.subarray(at, nl + 1));
      s.uncork();
      rest = at < d.length ? d.subarray(at) : null;
    });
  },
  frames(s) {
    let rest = null;
    s.on('data', (d) => {
      if (rest) d = Buffer.concat([rest, d]);
      let at = 0;
      s.cork();
      while (d.length - at >= 4) {
        const end = at + 4 + d.readUInt32BE(at);
        if (end > d.length) break;
        s.write(d.subarray(at, end));
        at = end;
      }
      s.uncork();
      rest = at < d.length ? d.subarray(at) : null;
    });
  },
  sink(s) {
    let total = 0;
    s.on('data', (d) => { total += d.length; });
    s.on('end', () => {
      const b = Buffer.alloc(8);
      b.writeBigUInt64BE(BigInt(total));
      s.end(b);
    });
  },
  source(s) {
    const pump = () => {
      for (let i = 0; i < 64; i++) if (!s.write(chunk)) return;
      setImmediate(pump);
    };
    s.on('drain', pump);
    pump();
  },
};

net.createServer({ noDelay: true, allowHalfOpen: mode === 'sink' }, (s) => {
  s.on('error', () => {});
  modes[mode](s);
}).listen({ port, host: '127.0.0.1', backlog: 4096 });
