'use strict'
/*
 * dht_lookups.js COUNT --bootstrap P[,P..] [--profile ..]
 *
 * Makes COUNT lookups of random topics, one after the other, from one ephemeral node, and prints
 *   {"event":"done","milliseconds":[..],"requests":[..]}
 * with the time that each took and the requests that it sent.
 */
const { args, load, emit, createNode, run } = require('./profile')

run(async () => {
  const { crypto } = load()
  const dht = createNode()
  await dht.fullyBootstrapped()
  const milliseconds = []
  const requests = []
  for (let i = 0; i < Number(args._[0]); i++) {
    const before = dht.stats.requests.total
    const began = process.hrtime.bigint()
    await dht.lookup(crypto.randomBytes(32)).finished()
    milliseconds.push(Number(process.hrtime.bigint() - began) / 1e6)
    requests.push(dht.stats.requests.total - before)
  }
  emit({ event: 'done', milliseconds, requests })
  await dht.destroy({ force: true })
})
