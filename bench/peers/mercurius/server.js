// Mercurius with graphql-jit and ioredis, as a team would write it: the bare check of
// handwritten.lua over GraphQL. Compiled at the first request; commands of one turn travel together.
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'
import { Redis } from 'ioredis'
import mercurius from 'mercurius'

const LIMIT = 1e12
const [port] = process.argv.slice(2)
const socket = new URL(process.env.REDIS_URL)
const redis = new Redis(
  socket.protocol === 'unix:' ? decodeURIComponent(socket.pathname) : process.env.REDIS_URL,
  { enableAutoPipelining: true },
)
redis.defineCommand('judge', {
  numberOfKeys: 2,
  lua: readFileSync(new URL('../handwritten.lua', import.meta.url), 'utf8'),
})

const schema = `
  type Window { window: String!  used: Float!  limit: Float! }
  type Consumption { allowed: Boolean!  windows: [Window!]! }
  type Query { ok: Boolean! }
  type Mutation { consume(customer: String!, feature: String!, units: Int!): Consumption! }
`
const resolvers = {
  Query: { ok: () => true },
  Mutation: {
    consume: async (_, { customer, feature, units }) => {
      const name = `{${customer}}:${feature}`
      const [allowed, day, month] = await redis.judge(
        `${name}:day`, `${name}:month`, units, LIMIT, LIMIT,
      )
      return {
        allowed: allowed === 1,
        windows: [
          { window: 'DAY', used: day, limit: LIMIT },
          { window: 'MONTH', used: month, limit: LIMIT },
        ],
      }
    },
  },
}

const app = Fastify({ logger: false })
app.register(mercurius, { schema, resolvers, jit: 1 })
await app.listen({ port: Number(port), host: '127.0.0.1' })
console.log('Mercurius ready')
