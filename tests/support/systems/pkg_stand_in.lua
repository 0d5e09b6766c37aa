-- A stand-in for the Lua in which FreeBSD's pkg runs a trigger's script; pkg_stand_in.py starts it, and does for it
-- what plain Lua can't do. Usage: lua5.4 pkg_stand_in.lua SCRIPT ROOT SANDBOX LACKING REQUESTS REPLIES
--
-- Like pkg's: `arg`; `pkg` with stat, readdir, exec, print_msg; io.open, os.remove and os.rename relative to the root.

local script, root, sandbox, lacking = arg[1], arg[2], arg[3] == "sandbox", arg[4]
local open, exit = io.open, os.exit
local requests, replies = assert(open(arg[5], "wb")), assert(open(arg[6], "rb"))

local function ask(...)
    local words = table.pack(...)
    for index, word in ipairs(words) do
        words[index] = string.pack("<s4", word)
    end
    requests:write(string.pack("<s4", table.concat(words)))
    requests:flush()
    local length = string.unpack("<I4", replies:read(4))
    local text, answer, at = length > 0 and replies:read(length) or "", {}, 1
    while at <= #text do
        answer[#answer + 1], at = string.unpack("<s4", text, at)
    end
    return answer
end

-- As luaL_fileresult has it: true; or nil, the reason behind the name, and the error's number.
local function result(answer, name)
    if answer[1] == "ok" then
        return true
    end
    return nil, (name and name .. ": " or "") .. answer[2], math.tointeger(answer[3])
end

pkg = {}

function pkg.stat(path) -- an lstat
    local answer = ask("stat", path)
    if answer[1] ~= "ok" then
        return nil
    end
    return {
        type = answer[2],
        size = math.tointeger(answer[3]),
        uid = math.tointeger(answer[4]),
        gid = math.tointeger(answer[5]),
    }
end

local leaked = {}

function pkg.readdir(path) -- never gives its descriptor back
    local descriptor, why, number = open("/dev/null")
    if not descriptor then
        return nil, path .. ": " .. why:gsub("^/dev/null: ", ""), number
    end
    leaked[#leaked + 1] = descriptor
    local answer = ask("readdir", path)
    if answer[1] ~= "ok" then
        return result(answer, path)
    end
    return table.move(answer, 2, #answer, 1, {})
end

function pkg.exec(command) -- the exit code is lost, and death by a signal looks like success
    if sandbox then
        error("pkg.exec not available in sandbox")
    end
    local answer = ask("exec", table.unpack(command))
    if answer[1] == "ok" then
        return math.tointeger(answer[2])
    end
    return result(answer)
end

function pkg.print_msg(text) -- its descriptor isn't the one that people see
    assert(type(text) == "string")
end

function io.open(path, mode)
    mode = mode or "r"
    local plain = mode:gsub("[xe]", "")
    if mode:find("x", 1, true) then -- C's own, which plain Lua refuses
        local made, why, number = result(ask("create", path), path)
        if not made then
            return nil, why, number
        end
    end
    local file, why, number = open(root .. path, plain)
    if not file then
        return nil, path .. ": " .. why:sub(#root + #path + 3), number
    end
    return file
end

function os.remove(path)
    return result(ask("remove", path))
end

function os.rename(from, to)
    return result(ask("rename", from, to))
end

function os.exit()
    error("os.exit not available")
end

if sandbox then
    function os.execute()
        error("os.execute not available")
    end
end

pkg[lacking] = nil -- not every version has everything

local source = assert(open(script, "rb"))
local text = source:read("a")
source:close()
arg = ask("arguments")

local chunk, why = load(text, "=trigger", "t")
local results = table.pack(pcall(chunk or error, not chunk and why or nil))
if not results[1] then
    io.stderr:write("pkg: Failed to execute lua trigger: ", tostring(results[2]), "\n")
    exit(1)
end
exit((tonumber(results[results.n]) or 0) == 0 and 0 or 1)
