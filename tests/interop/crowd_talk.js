'use strict'
// What two ends of a crowd say to each other on a connection; crowd_talk.py is the same in Python.
//
//   hello NAME\n                     at once
//   blob ROUND LENGTH\n BYTES        random bytes, in each round
//   seen ROUND SHA256\n              the answer to a blob

const { createHash, randomBytes } = require('crypto')

const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex')

module.exports = class Talk {
  // stream: a duplex; tell(event, fields): called with met, exchanged, damaged, parted
  constructor (name, stream, tell) {
    this.peer = null
    this._name = name
    this._stream = stream
    this._tell = tell
    this._buffer = Buffer.alloc(0)
    this._blob = null // { round, length } while its bytes come
    this._sent = new Map() // round -> SHA-256
    this._round = null
    stream.on('data', (data) => this._receive(data))
    stream.on('end', () => stream.end())
    stream.on('error', () => {}) // 'close' follows
    stream.on('close', () => this._parted())
    stream.write(`hello ${name}\n`)
  }

  // says it in this round, now or as soon as the other has said hello
  round (round, length) {
    this._round = { round, length }
    if (this.peer === null || this._stream.destroyed) return
    const bytes = randomBytes(length)
    this._sent.set(round, sha256(bytes))
    this._stream.write(Buffer.concat([Buffer.from(`blob ${round} ${length}\n`), bytes]))
  }

  end () {
    this._stream.end()
  }

  _receive (data) {
    this._buffer = this._buffer.length ? Buffer.concat([this._buffer, data]) : data
    while (this._blob ? this._takeBlob() : this._takeLine());
  }

  _takeLine () {
    const end = this._buffer.indexOf(10)
    if (end < 0) return false
    const words = this._buffer.subarray(0, end).toString().split(' ')
    this._buffer = this._buffer.subarray(end + 1)
    if (words[0] === 'hello') this._met(words[1])
    else if (words[0] === 'blob') this._blob = { round: Number(words[1]), length: Number(words[2]) }
    else if (words[0] === 'seen') this._seen(Number(words[1]), words[2])
    else this._tell('damaged', { peer: this.peer, what: 'a line' })
    return true
  }

  _takeBlob () {
    const { round, length } = this._blob
    if (this._buffer.length < length) return false
    this._blob = null
    this._stream.write(`seen ${round} ${sha256(this._buffer.subarray(0, length))}\n`)
    this._buffer = this._buffer.subarray(length)
    return true
  }

  _met (peer) {
    this.peer = peer
    this._tell('met', { peer })
    if (this._round) this.round(this._round.round, this._round.length)
  }

  _seen (round, hash) {
    const well = this._sent.get(round) === hash
    this._sent.delete(round)
    this._tell(well ? 'exchanged' : 'damaged', { peer: this.peer, round })
  }

  _parted () {
    if (this.peer !== null) this._tell('parted', { peer: this.peer })
  }
}
