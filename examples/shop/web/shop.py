"""The shop: takes orders and writes each to Redis and to PostgreSQL before it says so.

Where the stores are stands in a file that it reads again on SIGHUP; connections to a store that has
moved are dropped, and what was not acknowledged is tried again on the new one.
"""

import asyncio
import concurrent.futures
import json
import os
import signal
import socket
import threading
import time
import uuid

import psycopg2
import redis

CONFIG = "/etc/shop.json"
PASSWORD = os.environ["PASSWORD"]
# How long an order waits for a store that is being replaced.
PATIENCE_SECONDS = 20
local = threading.local()
generation = 0


def reload(*_):
    global generation
    generation += 1


def address(name):
    with open(CONFIG) as file:
        host, port = json.load(file)[name].rsplit(":", 1)
    return host, int(port)


def stores():
    """This thread's connections, made anew after a reload."""
    if getattr(local, "generation", None) != generation:
        close()
        mine = generation
        host, port = address("redis")
        local.redis = redis.Redis(host, port, socket_timeout=5, socket_connect_timeout=2)
        host, port = address("postgres")
        local.postgres = psycopg2.connect(host=host, port=port, user="shop", dbname="postgres",
                                          password=PASSWORD, connect_timeout=2)
        local.postgres.autocommit = True
        local.postgres.cursor().execute("CREATE TABLE IF NOT EXISTS orders (id text PRIMARY KEY)")
        local.generation = mine
    return local.redis, local.postgres


def close():
    for name in ("redis", "postgres"):
        if connection := local.__dict__.pop(name, None):
            connection.close()
    local.generation = None


def patiently(work):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return work(*stores())
        except (redis.RedisError, psycopg2.Error, OSError):
            close()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def order(_):
    name = uuid.uuid4().hex

    def write(cache, database):
        database.cursor().execute("INSERT INTO orders VALUES (%s) ON CONFLICT DO NOTHING", (name,))
        cache.sadd("orders", name)
        return {"order": name}

    return patiently(write)


def orders(_):
    def read(cache, database):
        cursor = database.cursor()
        cursor.execute("SELECT id FROM orders")
        return {"redis": sorted(name.decode() for name in cache.smembers("orders")),
                "postgres": sorted(name for (name,) in cursor.fetchall())}

    return patiently(read)


def peer(descriptor):
    with socket.socket(fileno=os.dup(descriptor)) as connection:
        host, port = connection.getpeername()[:2]
        return f"{host}:{port}"


def where(_):
    """To which servers this instance really talks, as its sockets say."""

    def look(cache, database):
        connection = cache.connection_pool.get_connection("PING")
        try:
            connection.send_command("PING")
            connection.read_response()
            at = peer(connection._sock.fileno())
        finally:
            cache.connection_pool.release(connection)
        database.cursor().execute("SELECT 1")
        return {"web": socket.gethostname(), "redis": at, "postgres": peer(database.fileno())}

    return patiently(look)


def health(_):
    return {"web": socket.gethostname()}


PAGES = {("POST", "/orders"): order, ("GET", "/orders"): orders, ("GET", "/where"): where}
QUICK = {("GET", "/"): health, ("GET", "/health"): health}
workers = concurrent.futures.ThreadPoolExecutor(8)


async def answer(reader, writer):
    try:
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        method, path = head.split(None, 2)[:2]
        key = (method.decode(), path.decode())
        status = "200 OK"
        if key in QUICK:
            body = QUICK[key](None)
        elif key in PAGES:
            try:
                running = asyncio.get_running_loop()
                body = await running.run_in_executor(workers, PAGES[key], None)
            except Exception as err:
                status, body = "503 Service Unavailable", {"error": str(err)}
        else:
            status, body = "404 Not Found", {"error": "there is no such page"}
        text = (json.dumps(body) + "\n").encode()
        writer.write(f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                     f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n".encode() + text)
        await writer.drain()
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError):
        pass
    finally:
        writer.close()


async def main():
    running = asyncio.get_running_loop()
    running.add_signal_handler(signal.SIGHUP, reload)
    # The first process of a container ignores SIGTERM unless it says what to do.
    running.add_signal_handler(signal.SIGTERM, os._exit, 0)
    server = await asyncio.start_server(answer, "0.0.0.0", 8000, backlog=1024)
    async with server:
        await server.serve_forever()


asyncio.run(main())
