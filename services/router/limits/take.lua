-- Counts one call at every key if all have room, else at none; the arithmetic of counters.py.
-- KEYS: one for each limit, all with one hash tag, so that a cluster keeps them on one node.
-- ARGV: now in microseconds (empty: this server's clock), then limit, window, step, burst for each key.
-- Answer: wait, remaining, reset for each key, in microseconds; all waits are 0 if the call was counted.
--
-- A log is a list: the count before its first entry, then stamp, count, stamp, count, oldest first.
-- A smooth limit is the time at which the next call is due.

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end

local function number(value)
  return string.format('%.0f', value)
end

local function milliseconds(duration)
  return number(math.ceil(duration / 1000) + 1)
end

local log = {}

function log.read(key, limit)
  local head = redis.call('LRANGE', key, 0, 1)
  while head[2] and tonumber(head[2]) <= now - limit.window do
    redis.call('LTRIM', key, 2, -1)
    head = redis.call('LRANGE', key, 0, 1)
  end
  local tail = redis.call('LRANGE', key, -2, -1)
  limit.count = tonumber(tail[2] or tail[1] or 0)
  limit.used = limit.count - tonumber(head[1] or 0)
  limit.last = limit.used > 0 and tonumber(tail[1])
  limit.wait = limit.used < limit.limit and 0 or tonumber(head[2]) + limit.window - now
end

function log.add(key, limit)
  local stamp = math.ceil(now / limit.step) * limit.step
  limit.count = limit.count + 1
  limit.used = limit.used + 1
  if limit.last and stamp <= limit.last then
    redis.call('LSET', key, -1, number(limit.count))
  else
    limit.last = stamp
    if limit.count == 1 then
      redis.call('RPUSH', key, '0')
    end
    redis.call('RPUSH', key, number(stamp), number(limit.count))
  end
  redis.call('PEXPIRE', key, milliseconds(limit.last + limit.window - now))
end

function log.reading(limit)
  local reset = limit.last and limit.last + limit.window - now or 0
  return math.max(0, limit.limit - limit.used), reset
end

local pace = {}

function pace.read(key, limit)
  limit.due = tonumber(redis.call('GET', key) or 0)
  limit.wait = math.max(0, math.max(limit.due, now) + limit.step - limit.burst * limit.step - now)
end

function pace.add(key, limit)
  limit.due = math.max(limit.due, now) + limit.step
  redis.call('SET', key, number(limit.due), 'PX', milliseconds(limit.due - now))
end

function pace.reading(limit)
  local ahead = math.max(0, limit.due - now)
  return math.floor(math.max(0, limit.burst * limit.step - ahead) / limit.step), ahead
end

local limits = {}
local room = true
for i, key in ipairs(KEYS) do
  local at = i * 4 - 2
  local limit = {
    limit = tonumber(ARGV[at]),
    window = tonumber(ARGV[at + 1]),
    step = tonumber(ARGV[at + 2]),
    burst = tonumber(ARGV[at + 3]),
  }
  limit.kind = limit.burst > 0 and pace or log
  limit.kind.read(key, limit)
  room = room and limit.wait == 0
  limits[i] = limit
end

local answer = {}
for i, key in ipairs(KEYS) do
  local limit = limits[i]
  if room then
    limit.kind.add(key, limit)
  end
  local remaining, reset = limit.kind.reading(limit)
  answer[#answer + 1] = limit.wait
  answer[#answer + 1] = remaining
  answer[#answer + 1] = reset
end
return answer
