'use strict'
/*
 * connection_peer.js --bootstrap H:P[,H:P] [--host H] [--firewalled true|false] [--ephemeral true|false]
 *   [--quick-firewall false] [--keep-alive MS] [--profile P] [--stream-namespace LABEL]
 *
 * A node that listens, connects and talks as it is told on stdin, one JSON object a line. our_peer.py is its counterpart,
 * with the same commands and events. It prints {"event":"ready","port":..,"firewalled":..} and then
 *
 *   {"cmd":"listen","seed":HEX,"echo":true,"reject":false,"options":{..}} -> {"event":"listening","publicKey"}
 *   {"cmd":"connect","key":HEX,"seed":HEX,"options":{..}}                 -> {"event":"open","connection":N,"ms":..}
 *                                        what comes from a client is      -> {"event":"connection","connection":N,..}
 *   {"cmd":"write","connection":N,"text":T}    one write
 *   {"cmd":"blob","connection":N,"bytes":B}    as many as it takes: byte i is 31 i + 7
 *   {"cmd":"message","connection":N,"text":T}  an unordered one
 *   {"cmd":"end" | "destroy" | "pause" | "resume" | "stats","connection":N}
 *   {"cmd":"pool"}                             -> {"event":"pool","connections":[HEX,..],"connecting":N}
 *
 * "relay":HEX in the first two is the key of a blind relay; with "pool":true the stream belongs to the node's pool. (Pools
 * are not for our_peer.py.) Of a connection are told: {"event":"data","text"} (not of long ones), "message", "end" and
 * "close", the last two with the number of bytes that have come and their SHA-256, "close" with the code of the error.
 * Options are those of hyperdht.
 */
const { createHash } = require('crypto')
const readline = require('readline')
const { args, load, emit, hex, unhex, addresses, anyPort, run } = require('./profile')

// bytes: what is longer is counted, not shown
const SHOWN = 200
const CHUNK = 65536

const connections = []
let dht = null
let pool = null

function pattern(count) {
  const all = Buffer.allocUnsafe(count)
  for (let i = 0; i < count; i++) all[i] = (i * 31 + 7) & 255
  return all
}

function where(stream) {
  const raw = stream.rawStream || {}
  return { remoteKey: hex(stream.remotePublicKey), localPort: raw.localPort, remoteHost: raw.remoteHost, remotePort: raw.remotePort }
}

// says what happens to a stream from now on
function watch(stream, echo) {
  const number = connections.push(stream) - 1
  const hash = createHash('sha256')
  let bytes = 0
  let code = null
  const say = (event, fields) => emit({ event, connection: number, ...fields })
  const sum = () => ({ bytes, sha256: hash.copy().digest('hex') })
  stream.on('data', (data) => {
    bytes += data.byteLength
    hash.update(data)
    if (data.byteLength <= SHOWN) say('data', { text: data.toString() })
    if (echo) stream.write(data)
  })
  stream.on('message', (data) => {
    say('message', { text: data.toString() })
    if (echo) stream.trySend(data)
  })
  stream.on('end', () => {
    say('end', sum())
    if (echo) stream.end()
  })
  stream.on('error', (err) => {
    code = err.code || err.message
  })
  stream.on('close', () => say('close', { ...sum(), code }))
  return say
}

const keyPair = (seed) => (seed ? dht.constructor.keyPair(unhex(seed, 32)) : dht.defaultKeyPair)
const more = (m) => ({ ...(m.relay && { relayThrough: unhex(m.relay, 32) }), ...(m.pool && { pool }) })

const commands = {
  async listen(m) {
    const firewall = (remoteKey) => {
      emit({ event: 'firewall', remoteKey: hex(remoteKey) })
      return !!m.reject
    }
    const server = dht.createServer({ ...m.options, ...more(m), firewall }, (stream) => {
      watch(stream, m.echo)('connection', where(stream))
    })
    await server.listen(keyPair(m.seed))
    emit({ event: 'listening', publicKey: hex(server.publicKey) })
  },
  connect(m) {
    const started = Date.now()
    const stream = dht.connect(unhex(m.key, 32), { ...m.options, ...more(m), keyPair: keyPair(m.seed) })
    const say = watch(stream, false)
    stream.on('open', () => say('open', { ms: Date.now() - started, ...where(stream) }))
  },
  write: (m, stream) => stream.write(Buffer.from(m.text)),
  blob(m, stream) {
    const all = pattern(m.bytes)
    for (let i = 0; i < all.byteLength; i += CHUNK) stream.write(all.subarray(i, i + CHUNK))
  },
  message: (m, stream) => stream.trySend(Buffer.from(m.text)),
  end: (m, stream) => stream.end(),
  destroy: (m, stream) => stream.destroy(),
  pause: (m, stream) => stream.pause(),
  resume: (m, stream) => stream.resume(),
  stats(m, stream) {
    emit({ event: 'stats', connection: m.connection, read: stream.rawBytesRead, written: stream.rawBytesWritten })
  },
  pool() {
    emit({ event: 'pool', connections: [...pool._connections.keys()], connecting: pool.connecting })
  }
}

const flag = (value) => (value === undefined ? undefined : value !== 'false')

run(async () => {
  const { HyperDHT } = load()
  const options = { bootstrap: addresses(args.bootstrap), host: args.host || '127.0.0.1', port: anyPort() }
  if (args.firewalled) options.firewalled = flag(args.firewalled)
  if (args.ephemeral) options.ephemeral = flag(args.ephemeral)
  // false: not to find out for itself whether everybody can reach it
  if (args['quick-firewall']) options.quickFirewall = flag(args['quick-firewall'])
  if (args['keep-alive']) options.connectionKeepAlive = Number(args['keep-alive'])
  dht = new HyperDHT(options)
  pool = dht.pool()
  await dht.fullyBootstrapped()
  emit({ event: 'ready', port: dht.io.serverSocket.address().port, firewalled: dht.firewalled })
  await new Promise((resolve) => {
    process.once('SIGTERM', resolve)
    const lines = readline.createInterface({ input: process.stdin })
    lines.on('close', resolve)
    lines.on('line', (line) => {
      const m = JSON.parse(line)
      commands[m.cmd](m, connections[m.connection])
    })
  })
  await dht.destroy({ force: true })
})
