#!/usr/bin/env node
'use strict'
// Many JavaScript ends in one process: peers (npm hyperswarm) and clients of a proxy (hyperswarm-proxy,
// hyperswarm-proxy-ws).  our_crowd.py is the same of ours.
//
//   node crowd.js '{"profile": NAME, "bootstrap": ["HOST:PORT"], "tcp": PORT, "ws": PORT}'
//
// Obeys the lines of its standard input, each a JSON object:
//
//   {"cmd":"begin","name":N,"kind":"peer"|"tcp"|"ws","topics":[HEX],"seed":HEX}   an end; seed: of a peer's key
//   {"cmd":"round","round":N,"bytes":N}    everybody sends so many random bytes on each connection, also on those to come
//   {"cmd":"leave"}                        everybody goes
//
// Prints JSON lines: begun, met, exchanged (the bytes of a round have arrived at that peer as they were), damaged,
// parted, left.  All but the last have the name of the end.

const net = require('net')
const readline = require('readline')
const { applyProfile, bootstrap } = require('./connect_common')
const Talk = require('./crowd_talk')

const options = JSON.parse(process.argv[2])
// how soon a client dials again when its link is lost: that is for those who use it to say
const RECONNECT_DELAY = 500

applyProfile(options)
require('hyperswarm-proxy/messages').EventType.ON_UPDATED = 10 // the published table lacks it
noLocalProxy()
const DHT = require('hyperdht')
const Hyperswarm = require('hyperswarm')
const Client = require('hyperswarm-proxy/client')
const WSClient = require('hyperswarm-proxy-ws/client')

const ends = new Set()
let round = null
// peers begin one after the other: two that do so together look before either can be found, and miss each other
let turn = Promise.resolve()

class End {
  constructor ({ name, kind, topics, seed }) {
    this.talks = new Set()
    this._name = name
    this._tell = (event, fields = {}) => say(event, { name, ...fields })
    this._topics = topics.map((topic) => Buffer.from(topic, 'hex'))
    this.leave = () => {}
    const begun = kind === 'peer' ? (turn = turn.then(() => this._beginPeer(seed))) : this._beginClient(kind)
    begun.then(() => this._tell('begun'))
  }

  // peers

  async _beginPeer (seed) {
    const dht = new DHT({ bootstrap: bootstrap(options.bootstrap.join(',')), host: '127.0.0.1' })
    const swarm = new Hyperswarm({ dht, keyPair: DHT.keyPair(seed && Buffer.from(seed, 'hex')) })
    this.leave = async () => { await swarm.destroy() }
    swarm.on('connection', (stream) => this._connected(stream))
    await Promise.all(this._topics.map((topic) => swarm.join(topic).flushed()))
  }

  // clients

  async _beginClient (kind) {
    const client = kind === 'tcp' ? tcpClient() : wsClient()
    this.leave = () => { this._end(client) }
    client.on('error', () => {})
    client.on('connection-error', () => {})
    client.on('connection', (stream) => this._connected(stream))
    for (const topic of this._topics) client.join(topic)
  }

  _end (client) {
    for (const talk of this.talks) talk.end()
    client.destroy()
  }

  // both

  _connected (stream) {
    const talk = new Talk(this._name, stream, this._tell)
    this.talks.add(talk)
    stream.on('close', () => this.talks.delete(talk))
    if (round) talk.round(round.round, round.bytes)
  }
}

function tcpClient () {
  const client = new Client({ connection: dial() })
  client.on('disconnected', () => setTimeout(() => { if (!client.destroyed) client.reconnect(dial()) }, RECONNECT_DELAY))
  return client
}

function dial () {
  const link = net.connect(options.tcp, '127.0.0.1')
  link.setNoDelay(true)
  link.on('error', () => {}) // 'disconnected' follows
  return link
}

function wsClient () {
  return new WSClient({ proxy: `ws://127.0.0.1:${options.ws}`, reconnectDelay: RECONNECT_DELAY })
}

// The WebSocket client goes to this machine's port 4977 before anywhere else; whoever listens there has no part in this.
function noLocalProxy () {
  const path = require.resolve('websocket-stream', { paths: [require.resolve('hyperswarm-proxy-ws/client')] })
  const websocket = require(path)
  const nobody = 'ws://127.0.0.1:1'
  require.cache[path].exports = (url) => websocket(url === 'ws://localhost:4977' ? nobody : url)
}

const commands = {
  begin: (command) => ends.add(new End(command)),
  round: (command) => {
    round = command
    for (const end of ends) for (const talk of end.talks) talk.round(round.round, round.bytes)
  },
  leave: async () => {
    const leaving = [...ends]
    ends.clear()
    round = null
    await Promise.all(leaving.map((end) => end.leave()))
    say('left')
  }
}

function say (event, fields = {}) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => { const command = JSON.parse(line); commands[command.cmd](command) })
  .on('close', () => process.exit())
process.on('SIGTERM', () => process.exit())
say('ready')
