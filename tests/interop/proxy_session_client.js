#!/usr/bin/env node
'use strict'
// The JS proxy client (npm hyperswarm-proxy) over TCP or WebSocket, driven by lines on standard input: proxy_session.js.
//
//   node proxy_session_client.js '{"tcp": PORT, ...}'
//     tcp: PORT, or ws: URL     where the proxy server is
//     topic: HEX                join it at once
//     maxPeers, autoconnect     as the client's own options
//     reconnect: true           dial again whenever the link is lost
//     updates: true             know ON_UPDATED, which the published message table lacks
//     greeting: TEXT            write it on each new connection
//     echo: true                write back whatever arrives
//     quiet: true               no `data` events

const net = require('net')
const session = require('./proxy_session')

const options = JSON.parse(process.argv[2])
if (options.updates) require('hyperswarm-proxy/messages').EventType.ON_UPDATED = 10
const Client = require('hyperswarm-proxy/client')

const RECONNECT_DELAY = 50

function dial () {
  const link = options.ws ? require('websocket-stream')(options.ws) : net.connect(options.tcp, '127.0.0.1')
  if (!options.ws) link.setNoDelay(true)
  link.on('error', () => {}) // 'disconnected' follows
  return link
}

const client = new Client({ ...options, connection: dial() })
if (options.reconnect) client.on('disconnected', () => setTimeout(() => client.reconnect(dial()), RECONNECT_DELAY))
session(client, options)
