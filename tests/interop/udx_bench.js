#!/usr/bin/env node
'use strict'
// What udx-native does for benchmarks/udx.py beside udx_peer.js. One JSON object a line, as there.
//
//   node udx_bench.js ping PORT --count N --size BYTES    round trips to an echo at that port (ids 1 and 2)
//   node --expose-gc udx_bench.js idle COUNT              both ends of so many streams in this process; stays
//                                                         until it is killed
const UDX = require('udx-native')

const say = (event, extra) => process.stdout.write(JSON.stringify({ event, ...extra }) + '\n')
const option = (name, otherwise) => {
  const at = process.argv.indexOf('--' + name)
  return at < 0 ? otherwise : Number(process.argv[at + 1])
}

function bound (udx) {
  const socket = udx.createSocket()
  socket.bind(0, '127.0.0.1')
  return socket
}

function ping (port, count, size) {
  const udx = new UDX()
  const stream = udx.createStream(1)
  const message = Buffer.alloc(size)
  const times = []
  let missing, began
  const next = () => {
    missing = size
    began = process.hrtime.bigint()
    stream.write(message)
  }
  stream.connect(bound(udx), 2, port, '127.0.0.1')
  stream.on('data', (data) => {
    missing -= data.length
    if (missing) return
    times.push(Number(process.hrtime.bigint() - began) / 1000)
    if (times.length < count) return next()
    const ordered = times.slice(Math.floor(count / 10)).sort((a, b) => a - b)
    const at = (part) => ordered[Math.floor(ordered.length * part)]
    say('pinged', { p50_us: at(0.5), p99_us: at(0.99) })
  })
  next()
}

async function idle (count) {
  const udx = new UDX()
  const sockets = [bound(udx), bound(udx)]
  const ports = sockets.map((socket) => socket.address().port)
  const kept = []
  const open = (count) => Promise.all(Array.from({ length: count }, () => {
    const number = 2 * kept.length + 1
    const one = udx.createStream(number)
    const two = udx.createStream(number + 1)
    one.connect(sockets[0], number + 1, ports[1], '127.0.0.1')
    two.connect(sockets[1], number, ports[0], '127.0.0.1')
    kept.push([one, two])
    two.on('data', (data) => two.write(data))
    return new Promise((resolve) => {
      one.on('data', resolve)
      one.write(Buffer.alloc(64))
    })
  }))
  const settle = async (event) => {
    await new Promise((resolve) => setTimeout(resolve, 200))
    global.gc()
    global.gc()
    say(event)
  }
  await open(100)
  await settle('warm')
  for (let opened = 0; opened < count; opened += 100) await open(100)
  await settle('idle')
  setInterval(() => {}, 1 << 30)
}

if (process.argv[2] === 'ping') ping(Number(process.argv[3]), option('count', 1000), option('size', 64))
else idle(Number(process.argv[3]))
