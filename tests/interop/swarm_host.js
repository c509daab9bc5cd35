'use strict'
/*
 * swarm_host.js --bootstrap H:P [--profile hyperswarm|spaceswarm]
 *
 * Any number of Hyperswarm v4 swarms in one process, each on a DHT node of its own, until SIGTERM, SIGINT or end of
 * stdin.  Commands on stdin, one JSON object per line: {"cmd", "swarm": a name, "request": a number, ..}; each is
 * answered by {"event":"done","swarm","request","result"} or {"event":"failed","swarm","request","message"}.
 *   start  seed, options -> its public key. Options: those of Hyperswarm, relayThrough in hex; relayAlways: the same, whether
 *          it is needed or not; each: "destroy" or "end", what is done to each connection; hidden: true, there is no way
 *          to it, or from it to others, but through relays
 *   join  topic, server, client, limit, session: a name -> when it is flushed
 *   refresh  session, server, client, limit                          destroy  session         leave  topic
 *   flush, listen, suspend, resume, close  join_peer, leave_peer  key
 *   refuse  key, everybody: whom the firewall refuses                ban  key, banned
 *   drop, end  key                         say  key, text
 *   info  -> peers: [key, topics] of each; explicit, topics, connecting, most: so many were connecting at most, stats
 * What swarms tell: connection, data, close, ban, each with "swarm".
 */
const readline = require('readline')
const { args, load, emit, hex, unhex, addresses, anyPort, until, run } = require('./profile')

const { HyperDHT, Hyperswarm } = load()
const noop = () => {}

class Host {
  constructor(name) {
    this.name = name
    this.sessions = new Map()
    this.refused = []
    this.most = 0
  }

  tell(event, fields) {
    emit({ event, swarm: this.name, ...fields })
  }

  async start(m) {
    const { each, hidden, relayThrough, relayAlways, ...options } = m.options
    const dht = new HyperDHT({ bootstrap: addresses(args.bootstrap), host: '127.0.0.1', port: anyPort(), quickFirewall: !hidden })
    const firewall = (key) => this.refused === 'all' || this.refused.includes(hex(key))
    if (relayThrough) options.relayThrough = unhex(relayThrough)
    if (relayAlways) options.relayThrough = () => unhex(relayAlways)
    this.swarm = new Hyperswarm({ dht, keyPair: HyperDHT.keyPair(unhex(m.seed, 32)), firewall, ...options })
    if (hidden) this.hide(dht)
    this.swarm.on('connection', (s, info) => this.connected(s, info, each))
    this.swarm.on('ban', (info) => this.tell('ban', { key: hex(info.publicKey) }))
    this.swarm.on('update', () => (this.most = Math.max(this.most, this.swarm.connecting)))
    return hex(this.swarm.keyPair.publicKey)
  }

  hide(dht) {
    this.swarm.server._neverPunch = true
    this.swarm.server._shareLocalAddress = false
    const connect = dht.connect.bind(dht)
    dht.connect = (key, opts) => connect(key, { ...opts, localConnection: false })
  }

  connected(s, info, each) {
    const key = hex(s.remotePublicKey)
    const topics = info.topics.map(hex)
    this.tell('connection', { key, initiator: s.isInitiator, client: info.client, topics })
    s.on('error', noop)
    s.on('data', (data) => this.tell('data', { key, text: data.toString() }))
    s.on('end', () => s.end())
    s.on('close', () => this.tell('close', { key }))
    if (each) s[each]()
  }

  streams(m) {
    return [...this.swarm.connections].filter((s) => hex(s.remotePublicKey) === m.key)
  }

  join({ topic, session, ...options }) {
    const joined = this.swarm.join(unhex(topic), options)
    this.sessions.set(session, joined)
    return joined.flushed()
  }

  refresh({ session, ...options }) {
    return this.sessions.get(session).refresh(options)
  }

  destroy({ session }) {
    return this.sessions.get(session).destroy()
  }

  async listen() {
    await this.swarm.listen()
  }

  leave({ topic }) {
    return this.swarm.leave(unhex(topic))
  }

  flush() {
    return this.swarm.flush()
  }

  join_peer({ key }) {
    this.swarm.joinPeer(unhex(key))
  }

  leave_peer({ key }) {
    this.swarm.leavePeer(unhex(key))
  }

  suspend() {
    return this.swarm.suspend()
  }

  resume() {
    return this.swarm.resume()
  }

  close() {
    return this.swarm.destroy()
  }

  refuse({ key, everybody }) {
    this.refused = everybody ? 'all' : key ? [key] : []
  }

  ban({ key, banned }) {
    this.swarm.peers.get(key).ban(banned)
  }

  drop(m) {
    for (const s of this.streams(m)) s.destroy()
  }

  end(m) {
    for (const s of this.streams(m)) s.end()
  }

  say(m) {
    for (const s of this.streams(m)) s.write(Buffer.from(m.text))
  }

  info() {
    const { peers, explicitPeers, connecting, stats } = this.swarm
    return {
      peers: [...peers].map(([key, { topics }]) => [key, topics.map(hex)]),
      explicit: explicitPeers.size,
      topics: [...this.swarm.topics()].map((d) => hex(d.topic)),
      connecting,
      most: this.most,
      stats
    }
  }
}

const hosts = new Map()

async function handle(line) {
  const { cmd, swarm, request, ...m } = JSON.parse(line)
  if (!hosts.has(swarm)) hosts.set(swarm, new Host(swarm))
  try {
    const result = await hosts.get(swarm)[cmd](m)
    emit({ event: 'done', swarm, request, result: result === undefined ? null : result })
  } catch (error) {
    emit({ event: 'failed', swarm, request, message: error.message })
  }
}

run(async () => {
  readline.createInterface({ input: process.stdin }).on('line', handle)
  await until()
  await Promise.allSettled([...hosts.values()].map((host) => host.swarm.destroy({ force: true })))
})
