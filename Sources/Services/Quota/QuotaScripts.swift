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
        -- Lua writes a number out wherever it meets a text or a command: times that are used twice are texts.
        local function text(number) return string.format('%.0f', number) end
        local now_on = '(' .. text(now)
        local function horizon(lease) return now + lease * 1.25 end
        -- How many of a set are live, and only they when it is done: a hundred ended ones leave at a time.
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
        local function settle(all, seats, holds, member, seat, lease, latest)
          if latest <= now then
            redis.call('ZREM', all, member)
            redis.call('ZREM', seats, seat)
            return
          end
          local ends, lasting = text(latest), text(lease)
          redis.call('ZADD', all, ends, member)
          redis.call('ZADD', seats, ends, seat)
          redis.call('PEXPIRE', holds, lasting)
          redis.call('PEXPIRE', seats, lasting)
          redis.call('PEXPIRE', all, lasting)
        end
        local function hold(all, seats, holds, member, seat, owner, priority, idle, lease)
          local ends = now + lease
          redis.call('HSET', holds, owner, text(ends) .. ' ' .. priority .. ' ' .. text(now - idle))
          if redis.call('HLEN', holds) > 1 then ends = latest_end(holds, lease) end
          settle(all, seats, holds, member, seat, lease, ends)
        end

        """

    /// KEYS: all, seats, holds, preempted, the victim's seats, the victim's holds.
    /// ARGV: owner, source, seat, priority, idle, lease, source limit, total limit (−1: none), the
    /// victim's source and seat (empty: none), notice. Answers outcome, count of the source, of all.
    static let acquire = ValkeyScript(
        prelude + """
            local all, seats, holds, preempted = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
            local owner, source, seat = ARGV[1], ARGV[2], ARGV[3]
            local lease = tonumber(ARGV[6])
            local member = source .. '/' .. seat
            local of_source, of_all = tidy(seats, lease), tidy(all, lease)
            if ARGV[10] ~= '' then tidy(KEYS[5], lease) end
            -- Whether a seat is missing when so many of the source and of all have given way.
            local function missing(given, given_of_all)
              local limit, total = tonumber(ARGV[7]), tonumber(ARGV[8])
              if limit >= 0 and of_source - given >= limit then return 1 end
              if total >= 0 and of_all - given_of_all >= total then return 2 end
              return 0
            end
            if not is_live(seats, seat) then
              local outcome = missing(0, 0)
              if outcome ~= 0 and ARGV[10] ~= '' then
                if not is_live(KEYS[5], ARGV[10]) then return {3, of_source, of_all} end
                local given = ARGV[9] == source and 1 or 0
                outcome = missing(given, 1)
                if outcome == 0 then
                  local victim = ARGV[9] .. '/' .. ARGV[10]
                  for _, other in ipairs(redis.call('HKEYS', KEYS[6])) do
                    redis.call('ZADD', preempted, now + ARGV[11], other .. ' ' .. victim)
                  end
                  redis.call('PEXPIRE', preempted, ARGV[11])
                  redis.call('DEL', KEYS[6])
                  redis.call('ZREM', KEYS[5], ARGV[10])
                  redis.call('ZREM', all, victim)
                  of_source, of_all = of_source - given, of_all - 1
                end
              end
              if outcome ~= 0 then return {outcome, of_source, of_all} end
              of_source, of_all = of_source + 1, of_all + 1
            end
            redis.call('ZREM', preempted, owner .. ' ' .. member)
            hold(all, seats, holds, member, seat, owner, ARGV[4], ARGV[5], lease)
            return {0, of_source, of_all}
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
                hold(all, seats, holds, member, seat, owner, ARGV[i * 4 + 1], ARGV[i * 4 + 2], lease)
              end
            end
            return answer
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
            return {tidy(seats, lease), tidy(all, lease)}
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
