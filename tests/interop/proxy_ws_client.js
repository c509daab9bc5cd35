#!/usr/bin/env node
'use strict'
// The JS WebSocket client class (npm hyperswarm-proxy-ws), driven by lines on standard input: proxy_session.js.
//
//   node proxy_ws_client.js '{"ws": URL, ...}'       options as for proxy_session_client.js
//
// The class always tries ws://localhost:4977 first: each connection begins with a 'connection-error', when nothing
// listens there. It reconnects by itself.

const session = require('./proxy_session')

const options = JSON.parse(process.argv[2])
if (options.updates) require('hyperswarm-proxy/messages').EventType.ON_UPDATED = 10
const Client = require('hyperswarm-proxy-ws/client')

session(new Client({ ...options, proxy: options.ws, reconnectDelay: 50 }), options)
