// The Lua scripts of the Valkey store: one for each operation, each as long as what it touches.
// SPDX-License-Identifier: Apache-2.0

import Valkey

/// The keys, all behind one hash tag, so that total and source are decided together in a cluster, too:
/// - `all`: a sorted set of `SOURCE/seat`, by the end of the seat in milliseconds of the server's time;
/// - `seats:SOURCE`: the same for one source;
/// - `holds:SOURCE/seat`: a hash of owners: `end priority usedAt`;
/// - `preempted`: a sorted set of `owner SOURCE/seat` that were taken away, by when that is forgotten.
///
/// Counts are never kept, only the sets: an answer that was lost or a call that came twice changes
/// nothing. What ends later than a lease can was written before the server's clock went back: it is
/// forgotten, and its owners say it again with their next renewal. A quarter of a lease is let pass, for
/// clocks that are only being set right.
enum QuotaScripts {
    /// What all of them begin with. `lease` is in milliseconds.
    private static let prelude = """
        local time = redis.call('TIME')
        local now = time[1] * 1000 + math.floor(time[2] / 1000)
        -- To write a number out takes as long as a command, and most times are those of now.
        local texts = {}
        local function text(number)
          if not texts[number] then texts[number] = string.format('%.0f', number) end
          return texts[number]
        end
        local now_on = '(' .. text(now)
        local function horizon(lease) return now + lease * 1.25 end
        -- How many of a set are live. Of those that have ended, a hundred leave at a time.
        local function tidy(key, lease)
          local last = text(horizon(lease))
          local live = redis.call('ZCOUNT', key, now_on, last)
          if redis.call('ZCARD', key) ~= live then
            local ended = redis.call('ZRANGEBYSCORE', key, '-inf', text(now), 'LIMIT', 0, 100)
            if #ended > 0 then redis.call('ZREM', key, unpack(ended)) end
            redis.call('ZREMRANGEBYSCORE', key, '(' .. last, '+inf')
          end
          return live
        end
        local function is_live(key, member)
          local ends = redis.call('ZSCORE', key, member)
          return ends and tonumber(ends) > now
        end
        -- When the last hold of a seat ends; those that have ended leave.
        local function latest_end(holds, lease)
          local latest = 0
          local fields = redis.call('HGETALL', holds)
          for i = 1, #fields, 2 do
            local ends = tonumber(string.match(fields[i + 1], '^%d+'))
            if ends <= now or ends > horizon(lease) then
              redis.call('HDEL', holds, fields[i])
            else
              latest = math.max(latest, ends)
            end
          end
          return latest
        end
        -- Sets that hold a live seat of now, and last as long as it at least.
        local touched = {}
        local function settle(all, seats, holds, member, seat, lease, latest)
          if latest <= now then
            redis.call('ZREM', all, member)
            redis.call('ZREM', seats, seat)
            return
          end
          local ends = text(latest)
          redis.call('ZADD', all, ends, member)
          redis.call('ZADD', seats, ends, seat)
          redis.call('PEXPIRE', holds, lease)
          touched[all], touched[seats] = lease, lease
        end
        local function finish(answer)
          for key, lease in pairs(touched) do redis.call('PEXPIRE', key, lease) end
          return answer
        end
        -- Whether nobody else can have a live hold of the seat is known where it was not taken.
        local function hold(
          all, seats, holds, member, seat, owner, priority, idle, lease, is_alone)
          local ends = now + lease
          redis.call('HSET', holds, owner, text(ends) .. ' ' .. priority .. ' ' .. text(now - idle))
          if not is_alone and redis.call('HLEN', holds) > 1 then
            ends = latest_end(holds, lease)
          end
          settle(all, seats, holds, member, seat, lease, ends)
        end

        """

    /// KEYS: all, preempted, then for each wish: seats, holds, the victim's seats, the victim's holds.
    /// ARGV: lease, notice, then for each wish: owner, source, seat, priority, idle, source limit, total
    /// limit (−1: none), the victim's source and seat (empty: none).
    /// Answers for each wish: outcome, count of the source, of all.
    static let acquire = ValkeyScript(
        prelude + """
            local all, preempted, lease, notice = KEYS[1], KEYS[2], tonumber(ARGV[1]), ARGV[2]
            local has_preempted = redis.call('EXISTS', preempted) == 1
            -- Live seats by key, as they are counted while seats are taken.
            local counts = {[all] = tidy(all, lease)}
            local function counted(key)
              if not counts[key] then counts[key] = tidy(key, lease) end
              return counts[key]
            end
            -- Whether a seat is missing when so many of the source and of all have given way.
            local function missing(seats, limit, total, given, given_of_all)
              if limit >= 0 and counts[seats] - given >= limit then return 1 end
              if total >= 0 and counts[all] - given_of_all >= total then return 2 end
              return 0
            end
            local function evict(seats, holds, source, seat)
              local victim = source .. '/' .. seat
              for _, owner in ipairs(redis.call('HKEYS', holds)) do
                redis.call('ZADD', preempted, text(now + notice), owner .. ' ' .. victim)
                has_preempted = true
              end
              redis.call('PEXPIRE', preempted, notice)
              redis.call('DEL', holds)
              redis.call('ZREM', seats, seat)
              redis.call('ZREM', all, victim)
              counts[seats], counts[all] = counts[seats] - 1, counts[all] - 1
            end
            local function take(key, at)
              local seats, holds, other_seats = KEYS[key], KEYS[key + 1], KEYS[key + 2]
              local owner, source, seat = ARGV[at], ARGV[at + 1], ARGV[at + 2]
              local limit, total = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
              local other_source, other = ARGV[at + 7], ARGV[at + 8]
              counted(seats)
              local is_new = not is_live(seats, seat)
              if is_new then
                local outcome = missing(seats, limit, total, 0, 0)
                if outcome ~= 0 and other ~= '' then
                  counted(other_seats)
                  if not is_live(other_seats, other) then return 3 end
                  outcome = missing(seats, limit, total, other_source == source and 1 or 0, 1)
                  if outcome == 0 then evict(other_seats, KEYS[key + 3], other_source, other) end
                end
                if outcome ~= 0 then return outcome end
                counts[seats], counts[all] = counts[seats] + 1, counts[all] + 1
              end
              local member = source .. '/' .. seat
              if has_preempted then redis.call('ZREM', preempted, owner .. ' ' .. member) end
              hold(
                all, seats, holds, member, seat, owner, ARGV[at + 3], ARGV[at + 4], lease, is_new)
              return 0
            end
            local answer = {}
            for i = 0, (#KEYS - 2) / 4 - 1 do
              local key = 3 + i * 4
              local outcome = take(key, 3 + i * 9)
              local n = #answer
              answer[n + 1], answer[n + 2], answer[n + 3] = outcome, counts[KEYS[key]], counts[all]
            end
            return finish(answer)
            """)

    /// KEYS: all, preempted, then seats and holds of each seat.
    /// ARGV: owner, lease, then source, seat, priority and idle of each.
    /// Answers how many were unknown, then the places (from 1) of those that were taken away.
    static let renew = ValkeyScript(
        prelude + """
            local all, preempted, owner, lease = KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2])
            tidy(all, lease)
            tidy(preempted, 3600000)
            local answer = {0}
            for i = 1, (#KEYS - 2) / 2 do
              local seats, holds = KEYS[i * 2 + 1], KEYS[i * 2 + 2]
              local source, seat = ARGV[i * 4 - 1], ARGV[i * 4]
              local member = source .. '/' .. seat
              if redis.call('ZREM', preempted, owner .. ' ' .. member) == 1 then
                answer[#answer + 1] = i
              else
                if redis.call('HEXISTS', holds, owner) == 0 then answer[1] = answer[1] + 1 end
                hold(
                  all, seats, holds, member, seat, owner, ARGV[i * 4 + 1], ARGV[i * 4 + 2], lease,
                  false)
              end
            end
            return finish(answer)
            """)

    /// KEYS: all, seats, holds, preempted. ARGV: owner, source, seat, lease.
    /// Answers the count of the source and of all.
    static let release = ValkeyScript(
        prelude + """
            local all, seats, holds, lease = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[4])
            local member = ARGV[2] .. '/' .. ARGV[3]
            redis.call('ZREM', KEYS[4], ARGV[1] .. ' ' .. member)
            if redis.call('HDEL', holds, ARGV[1]) == 1 then
              settle(all, seats, holds, member, ARGV[3], lease, latest_end(holds, lease))
            end
            return finish({tidy(seats, lease), tidy(all, lease)})
            """)

    /// KEYS: all. ARGV: lease. Answers sources and their counts in turn.
    static let usage = ValkeyScript(
        prelude + """
            tidy(KEYS[1], tonumber(ARGV[1]))
            local counts, answer = {}, {}
            for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now_on, '+inf')) do
              local source = string.match(member, '^[^/]+')
              counts[source] = (counts[source] or 0) + 1
            end
            for source, number in pairs(counts) do
              answer[#answer + 1] = source
              answer[#answer + 1] = number
            end
            return answer
            """)

    /// KEYS: all. ARGV: the beginning of the names of holds, a source or nothing, how many at most, lease.
    /// Answers seat, priority and idle milliseconds in turn. The names of the holds follow from those of
    /// the seats; they are behind the same hash tag, so a cluster has them in the same place.
    static let candidates = ValkeyScript(
        prelude + """
            local answer = {}
            tidy(KEYS[1], tonumber(ARGV[4]))
            for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], now_on, '+inf')) do
              local source = string.match(member, '^[^/]+')
              if (ARGV[2] == '' or ARGV[2] == source) and #answer < 3 * ARGV[3] then
                local priority, used = 0, 0
                for _, value in ipairs(redis.call('HVALS', ARGV[1] .. member)) do
                  local _, rank, at = string.match(value, '^(%d+) (%d+) (%d+)$')
                  priority = math.max(priority, tonumber(rank))
                  used = math.max(used, tonumber(at))
                end
                answer[#answer + 1] = member
                answer[#answer + 1] = priority
                answer[#answer + 1] = math.max(0, now - used)
              end
            end
            return answer
            """)
}
