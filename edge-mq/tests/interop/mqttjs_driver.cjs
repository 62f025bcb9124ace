// Has mqtt.js do what a client does, by one way into a broker. Each thing that it sees is a line.
//
// mqttjs_driver.cjs 4|5 URL [CA [CERTIFICATE KEY]]

const fs = require('node:fs')

const FOR_EVER = 60_000

function load() {
  try {
    return require('mqtt')
  } catch {
    console.error('mqtt.js is not installed: npm install mqtt, and NODE_PATH; see CONTRIBUTING.md')
    process.exit(1)
  }
}

const mqtt = load()
const [version, url, ...files] = process.argv.slice(2)
const protocolVersion = Number(version)
const [ca, cert, key] = files.map((file) => fs.readFileSync(file))

class Client {
  constructor(name, will, keep) {
    this.name = name
    this.messages = []
    const properties = protocolVersion === 5 ? { sessionExpiryInterval: keep ? 3600 : 0 } : undefined
    this.mqtt = mqtt.connect(url, {
      clientId: name,
      protocolVersion,
      clean: !keep,
      properties,
      will: will && { topic: will, payload: 'gone', qos: 1 },
      reconnectPeriod: 0,
      ca,
      cert,
      key,
    })
    this.mqtt.on('message', (topic, payload, packet) => {
      this.messages.push({ topic, text: payload.toString(), qos: packet.qos, retain: packet.retain })
      this.arrived?.()
    })
  }

  /** Resolves to a connected client. */
  static async connect(name, { will, keep = false } = {}) {
    const client = new Client(name, will, keep)
    const ack = await new Promise((connected, refused) => {
      client.mqtt.once('connect', connected).once('error', refused)
    })
    client.says(`connected, ${ack.sessionPresent ? 'old' : 'new'} session`)
    return client
  }

  says(line) {
    console.log(this.name, line)
  }

  async subscribe(topics, qos) {
    const [granted] = await this.mqtt.subscribeAsync(topics, { qos })
    this.says(`subscribed with QoS ${granted.qos}`)
  }

  /** Resolves once it is acknowledged. */
  async publish(topic, qos, payload, retain = false) {
    await this.mqtt.publishAsync(topic, payload, { qos, retain })
    this.says(`published with QoS ${qos}`)
  }

  async get() {
    while (this.messages.length === 0) {
      await new Promise((arrived) => (this.arrived = arrived))
    }
    const { topic, text, qos, retain } = this.messages.shift()
    const shown = text.length < 100 ? text || 'nothing' : `${text.length} bytes`
    this.says(`got ${retain ? 'retained ' : ''}${topic}, QoS ${qos}: ${shown}`)
  }

  disconnect() {
    return this.mqtt.endAsync()
  }

  /** Closes the stream below mqtt.js, which does not say DISCONNECT. */
  cut() {
    const closed = new Promise((closed) => this.mqtt.once('close', closed))
    this.mqtt.stream.destroy()
    return closed
  }
}

async function qos(reader, writer) {
  await reader.subscribe('office/#', 2)
  for (const qos of [0, 1, 2]) {
    await writer.publish('office/lab', qos, `hi ${qos}`)
    await reader.get()
  }
  await writer.publish('office/lab', 1, 'x'.repeat(100_000))
  await reader.get()
}

async function retained(writer) {
  await writer.publish('kept/lab', 1, '21', true)
  const late = await Client.connect('late')
  await late.subscribe('kept/#', 1)
  await late.get()
  await writer.publish('kept/lab', 1, '', true)
  await late.get()
  await late.disconnect()
  const later = await Client.connect('later')
  await later.subscribe('kept/#', 1)
  await writer.publish('kept/end', 0, 'live')
  await later.get()
  await later.disconnect()
}

async function will(reader) {
  await reader.subscribe('will/#', 1)
  const polite = await Client.connect('polite', { will: 'will/polite' })
  await polite.disconnect()
  const lost = await Client.connect('lost', { will: 'will/lost' })
  await lost.cut()
  await reader.get()
}

async function session(writer) {
  let away = await Client.connect('away', { keep: true })
  await away.subscribe('queue/#', 2)
  await away.disconnect()
  await writer.publish('queue/a', 1, 'while you')
  await writer.publish('queue/b', 2, 'were away')
  away = await Client.connect('away', { keep: true })
  await away.get()
  await away.get()
  await away.disconnect()
  away = await Client.connect('away')
  await away.disconnect()
}

async function main() {
  const reader = await Client.connect('reader')
  const writer = await Client.connect('writer')
  await qos(reader, writer)
  await retained(writer)
  await will(reader)
  await session(writer)
  await reader.disconnect()
  await writer.disconnect()
}

function fail(error) {
  console.error(error)
  process.exit(1)
}

const deadline = setTimeout(() => fail('nothing happened for ever'), FOR_EVER)
main().then(() => clearTimeout(deadline), fail)
