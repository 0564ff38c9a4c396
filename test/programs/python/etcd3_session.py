"""A session of Debian's python3-etcd3 with the server at the address HOST:PORT of the first argument.

The other arguments are the parts to run. Prints every answer, without what differs between two servers that do the same.
"""

import io
import re
import sys
import threading
import time

import etcd3
import grpc

host, port = sys.argv[1].split(':')
client = etcd3.client(host=host, port=int(port), timeout=20)


def show(label, *values):
    print(label + ':', re.sub(r'\d{12,}', 'ID', ' '.join(map(repr, values))))


def meta(m):
    return m and (m.key, m.create_revision, m.mod_revision, m.version, m.lease_id != 0)


def pairs(answer):
    return [(value, meta(m)) for value, m in answer]


def failure(label, call):
    try:
        show(label, 'no error', call())
    except grpc.RpcError as err:
        show(label, err.code().name, err.details())
    except Exception as err:
        show(label, type(err).__name__, str(err))


def until(label, condition):
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(label)
        time.sleep(0.02)


def kv():
    show('put', client.put('kv/a', '1').header.revision)
    show('put returning previous', client.put('kv/a', '2', prev_kv=True).prev_kv.value)
    client.put('kv/b', b'\x00\xff')
    client.put('kv/c', '3')
    show('get', pairs([client.get('kv/a')]))
    show('get nothing', client.get('kv/none'))
    show('prefix', pairs(client.get_prefix('kv/', sort_order='descend', sort_target='mod')))
    show('keys only', pairs(client.get_prefix('kv/', keys_only=True)))
    show('range', pairs(client.get_range('kv/a', 'kv/c')))
    show('all', pairs(client.get_all(sort_order='ascend', sort_target='value')))
    show('serializable', pairs([client.get('kv/c', serializable=True)]))
    show('create', client.put_if_not_exists('kv/d', '1'), client.put_if_not_exists('kv/d', '2'))
    show('replace', client.replace('kv/d', '1', '3'), client.replace('kv/d', '1', '4'))
    show('replaced', pairs([client.get('kv/d')]))
    show('delete', client.delete('kv/a'), client.delete('kv/a'))
    show('delete returning previous', client.delete('kv/b', prev_kv=True, return_response=True).prev_kvs[0].value)
    show('delete prefix', client.delete_prefix('kv/').deleted)
    failure('no key', lambda: client.put('', 'x'))
    revision = client.put('kv/e', '1').header.revision
    client.compact(revision, physical=True)
    failure('compact again', lambda: client.compact(revision))
    failure('compact the future', lambda: client.compact(revision + 100))


def txn():
    t = client.transactions
    client.put('txn/a', '1')
    for compare in (t.value('txn/a') == '1', t.value('txn/a') > '1', t.version('txn/a') == 1, t.version('txn/a') != 1,
                    t.create('txn/none') == 0, t.mod('txn/a') < 1):
        ok, answers = client.transaction([compare], [t.get('txn/a')], [t.get('txn/none')])
        show('compare', ok, [pairs(a) for a in answers])
    ok, answers = client.transaction(
        [t.version('txn/a') > 0],
        [t.put('txn/b', '2'), t.get('txn/b'), t.delete('txn/a'),
         t.txn([t.version('txn/a') == 0], [t.put('txn/c', '3')], [t.put('txn/d', '4')])], [])
    show('several', ok, len(answers))
    show('stored', pairs(client.get_prefix('txn/')))
    failure('the same key twice', lambda: client.transaction([], [t.put('txn/a', '1'), t.put('txn/a', '2')], []))


def watch():
    events, cancel = client.watch_prefix('watch/', prev_kv=True)
    first = client.put('watch/a', '1').header.revision
    client.put('watch/a', '2')
    client.put('watch/b', '1')
    client.delete_prefix('watch/')
    for _ in range(5):
        e = next(events)
        show('event', type(e).__name__, e.key, e.value, e.mod_revision, e.version, e.prev_value)
    cancel()
    past, cancel = client.watch('watch/a', start_revision=first)
    show('replayed', [(type(e).__name__, e.value) for e in (next(past), next(past), next(past))])
    cancel()
    timer = threading.Timer(0.2, client.put, ('watch/once', 'x'))
    timer.start()
    show('once', client.watch_once('watch/once', timeout=20).value)
    timer.join()
    failure('none', lambda: client.watch_once('watch/never', timeout=0.2))
    called = []
    watch_id = client.add_watch_callback('watch/c', lambda answer: called.extend(answer.events))
    client.put('watch/c', '1')
    until('the callback', lambda: called)
    client.cancel_watch(watch_id)
    client.compact(client.put('watch/a', '3').header.revision)
    lost, cancel = client.watch('watch/a', start_revision=first)
    failure('compacted', lambda: next(lost))


def lease():
    held = client.lease(60)
    client.put('lease/a', '1', lease=held)
    show('granted', held.granted_ttl, held.remaining_ttl > 50, list(held.keys))
    show('refreshed', [r.TTL for r in held.refresh()])
    show('chosen', client.lease(30, lease_id=4711).id)
    failure('chosen again', lambda: client.lease(30, lease_id=4711))
    held.revoke()
    show('revoked', client.get('lease/a'))
    failure('revoke again', held.revoke)
    failure('put', lambda: client.put('lease/b', '1', lease=held))
    show('refreshed after revocation', [r.TTL for r in held.refresh()])


def ttl():
    client.put('ttl/a', '1', lease=client.lease(2))
    show('put', client.get('ttl/a')[0])
    until('expiry', lambda: client.get('ttl/a')[0] is None)


def lock():
    one, two = client.lock('resource', ttl=10), client.lock('resource', ttl=10)
    show('acquired', one.acquire(), one.is_acquired(), two.acquire(timeout=0), two.is_acquired())
    show('refreshed', [r.TTL for r in one.refresh()])
    show('released', one.release(), one.release())
    show('the second', one.is_acquired(), two.acquire(), two.is_acquired(), two.release())
    with client.lock('resource', ttl=10) as held:
        show('inside', held.is_acquired())
    show('outside', held.is_acquired())


def cluster():
    show('members', len(list(client.members)))
    show('the leader', client.status().leader.id in [m.id for m in client.members])
    show('alarms', list(client.list_alarms()))
    client.defragment()
    show('hash', client.hash() != 0)
    file = io.BytesIO()
    client.snapshot(file)
    show('snapshot', len(file.getvalue()) > 0)
    alarms = client.create_alarm()
    show('alarm', [a.alarm_type for a in alarms])
    failure('a put', lambda: client.put('x', 'y'))
    show('disarmed', len(list(client.disarm_alarm())), list(client.list_alarms()))
    client.put('x', 'y')


for name in sys.argv[2:]:
    print('---', name)
    globals()[name]()
