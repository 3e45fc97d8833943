-- For wrk: one request in twenty makes its worker crash, hang or run out of
-- memory. Counts what was sent and what came back, and prints both.
local kinds = {"crash", "hang", "oom"}
local poison = {crash = "CRASH", hang = "HANG", oom = "OOM"}
local signs = {crash = "signal 11", hang = "deadline", oom = "out of memory"}
local threads, file = {}, assert(io.open(os.getenv("THUMBD_IMAGE"), "rb"))
local image = file:read("*a")
local n = 0
sent_good, sent_crash, sent_hang, sent_oom = 0, 0, 0, 0
got_good, got_crash, got_hang, got_oom = 0, 0, 0, 0
got_busy, got_other = 0, 0

function setup(thread)
    table.insert(threads, thread)
end

function request()
    n = n + 1
    if n % 20 ~= 0 then
        sent_good = sent_good + 1
        return wrk.format("POST", "/thumbnail", nil, image)
    end
    local kind = kinds[n / 20 % 3 + 1]
    _G["sent_" .. kind] = _G["sent_" .. kind] + 1
    return wrk.format("POST", "/thumbnail", nil, poison[kind])
end

function response(status, headers, body)
    local name = "got_other"
    if status == 200 and body:sub(1, 2) == "\255\216" then
        name = "got_good"
    elseif status == 503 then
        name = "got_busy"
    elseif status == 502 then
        for _, kind in ipairs(kinds) do
            if body:find(signs[kind], 1, true) then name = "got_" .. kind end
        end
    end
    if name == "got_other" then io.write("other ", status, " ", body, "\n") end
    _G[name] = _G[name] + 1
end

function done(summary, latency)
    for _, name in ipairs({"sent_good", "sent_crash", "sent_hang", "sent_oom",
        "got_good", "got_crash", "got_hang", "got_oom", "got_busy",
        "got_other"}) do
        local sum = 0
        for _, thread in ipairs(threads) do sum = sum + thread:get(name) end
        io.write(name, "=", string.format("%d", sum), "\n")
    end
    for _, name in ipairs({"connect", "read", "write", "timeout"}) do
        io.write("error_", name, "=", summary.errors[name], "\n")
    end
    io.write("replies=", summary.requests, "\n")
    io.write("p99_us=", string.format("%d", latency:percentile(99)), "\n")
end
