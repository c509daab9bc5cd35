#!/usr/bin/env node
'use strict'
// What hyperdht does for benchmarks/connection.py; benchmarks/connection_end.py is ours, with the same arguments and
// lines. One JSON object a line.
//
//   node connection_bench.js serve HOST:PORT               listening; echoes what comes on streams that begin with "e",
//                                                          reads all others; ended for each that has ended
//   node connection_bench.js bulk HOST:PORT KEY BYTES      open, then done when the server has ended too
//   node connection_bench.js ping HOST:PORT KEY COUNT      open, then pinged with p50_us and p99_us
//   node connection_bench.js cycles HOST:PORT KEY COUNT N  ready, then done: so many connections, N at a time
//   node connection_bench.js idle HOST:PORT KEY COUNT      warm after one, idle after all; they stay open
const DHT = require('hyperdht')
const { anyPort } = require('./profile')

const [task, where, key, count, parallel] = process.argv.slice(2)
const say = (event, extra) => process.stdout.write(JSON.stringify({ event, ...extra }) + '\n')
const [host, port] = where.split(':')
const dht = new DHT({ bootstrap: [{ host, port: Number(port) }], host: '127.0.0.1', port: anyPort() })
const connect = () => {
  const stream = dht.connect(Buffer.from(key, 'hex'))
  stream.on('error', (err) => { console.error(err.message); process.exit(1) })
  return stream
}

async function serve () {
  const server = dht.createServer((stream) => {
    let echo = null
    stream.on('error', () => {})
    stream.on('data', (data) => {
      if (echo === null) echo = data[0] === 101
      if (echo) stream.write(data)
    })
    stream.on('end', () => { stream.end(); say('ended') })
  })
  await server.listen()
  say('listening', { publicKey: server.publicKey.toString('hex') })
}

function bulk () {
  const stream = connect()
  const chunk = Buffer.alloc(65536)
  let left = Number(count)
  const next = () => {
    while (left > 0) {
      const more = stream.write(chunk.subarray(0, Math.min(left, chunk.length)))
      left -= chunk.length
      if (!more && left > 0) return stream.once('drain', next)
    }
    stream.end()
  }
  stream.on('open', () => { say('open'); next() })
  stream.on('end', () => say('done'))
  stream.resume()
}

function ping () {
  const stream = connect()
  const message = Buffer.alloc(64, 'e')
  const times = []
  let began
  const next = () => { began = process.hrtime.bigint(); stream.write(message) }
  stream.on('open', () => { say('open'); next() })
  stream.on('data', () => {
    times.push(Number(process.hrtime.bigint() - began) / 1000)
    if (times.length < Number(count)) return next()
    const ordered = times.slice(Math.floor(times.length / 10)).sort((a, b) => a - b)
    const at = (part) => ordered[Math.floor(ordered.length * part)]
    say('pinged', { p50_us: at(0.5), p99_us: at(0.99) })
  })
}

function hello () {
  return new Promise((resolve) => {
    const stream = connect()
    stream.write(Buffer.from('e'))
    stream.once('data', () => resolve(stream))
  })
}

function ended (stream) {
  return new Promise((resolve) => { stream.once('close', resolve); stream.end() })
}

async function cycles () {
  await dht.fullyBootstrapped()
  await ended(await hello())
  say('ready')
  let left = Number(count)
  const worker = async () => { while (left-- > 0) await ended(await hello()) }
  await Promise.all(Array.from({ length: Number(parallel) }, worker))
  say('done')
}

async function idle () {
  await hello()
  say('warm')
  for (let i = 0; i < Number(count); i++) await hello()
  say('idle')
}

({ serve, bulk, ping, cycles, idle })[task]()
