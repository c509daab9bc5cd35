'use strict'
// What a test can see and do of one JS proxy client: used by proxy_session_client.js and proxy_ws_client.js.
//
// Prints JSON lines: connecting, peer, connection, data, end, close, stream-error, disconnection, updated,
// disconnected, connection-error, error, blasted, said. `end` and `close` carry the number of bytes that the stream has
// delivered, and their SHA-256.
//
// Obeys the lines of its standard input; STREAM is a stream's number on the latest link:
//
//   write STREAM TEXT     write a text
//   blast STREAM BYTES [SIZE]  write random bytes, SIZE (65536) at a time; `blasted` tells their SHA-256
//   end STREAM            end a stream
//   join TOPIC | leave TOPIC
//   connect PEER          ask for a connection
//   pause | resume        read nothing from the link; go on
//   raw HEX               write bytes on the link itself
//   say TEXT              print it; whatever was asked before has been done

const { createHash, randomBytes } = require('crypto')
const readline = require('readline')

const PIECE = 65536

module.exports = function session (client, options) {
  const streams = new Map()

  client.on('peer', ({ host, topic }) => say('peer', { peer: host, topic: hex(topic) }))
  client.on('updated', ({ key }) => say('updated', { topic: hex(key) }))
  client.on('disconnected', () => say('disconnected'))
  client.on('disconnection', (_, { peer }) => say('disconnection', { peer: peer.host }))
  client.on('error', ({ message }) => say('error', { message }))
  client.on('connection-error', ({ message }) => say('connection-error', { message }))
  client.on('connection', (stream, { peer }) => {
    streams.set(stream._id, stream)
    say('connection', { id: stream._id, peer: peer.host, topic: hex(peer.topic) })
    watch(stream, options)
  })

  const commands = {
    write: (id, ...text) => streams.get(Number(id)).write(text.join(' ')),
    blast: (id, bytes, size) => blast(streams.get(Number(id)), Number(bytes), Number(size || PIECE)),
    end: (id) => streams.get(Number(id)).end(),
    join: (topic) => client.join(Buffer.from(topic, 'hex')),
    leave: (topic) => client.leave(Buffer.from(topic, 'hex')),
    connect: (host) => client.connect({ host }),
    pause: () => socketOf(client).pause(),
    resume: () => socketOf(client).resume(),
    raw: (bytes) => client._connection.write(Buffer.from(bytes, 'hex')),
    say: (...text) => say('said', { text: text.join(' ') })
  }
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const [command, ...words] = line.split(' ')
    commands[command](...words)
  })

  if (options.topic) client.join(Buffer.from(options.topic, 'hex'))
}

function watch (stream, { greeting, echo, quiet }) {
  const id = stream._id
  const hash = createHash('sha256')
  let bytes = 0
  const sum = () => ({ id, bytes, sha256: hash.copy().digest('hex') })
  stream.on('error', ({ message }) => say('stream-error', { id, message }))
  stream.on('end', () => say('end', sum()))
  stream.on('close', () => say('close', sum()))
  stream.on('data', (data) => {
    hash.update(data)
    bytes += data.length
    if (echo) stream.write(data)
    if (!quiet) say('data', { id, text: data.toString() })
  })
  if (greeting) stream.write(greeting)
}

function blast (stream, bytes, size) {
  const hash = createHash('sha256')
  let left = bytes
  const step = () => {
    for (let i = 0; i < 16 && left > 0; i++) {
      const piece = randomBytes(Math.min(left, size))
      hash.update(piece)
      stream.write(piece)
      left -= piece.length
    }
    if (left > 0) setImmediate(step)
    else say('blasted', { id: stream._id, bytes, sha256: hash.digest('hex') })
  }
  step()
}

// The TCP socket under the link: websocket-stream itself takes whatever comes.
function socketOf ({ _connection: link }) {
  return link.socket ? link.socket._socket : link
}

function say (event, fields = {}) {
  process.stdout.write(JSON.stringify({ event, ...fields }) + '\n')
}

function hex (bytes) { return bytes ? bytes.toString('hex') : null }
