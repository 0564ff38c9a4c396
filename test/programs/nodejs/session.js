// A session of npm's etcd3 with the server at the address of the first argument. The other arguments are the parts to run. It
// prints every answer, without what differs between two servers that do the same (lease, member and cluster IDs).
'use strict';

const etcd3 = require('etcd3');
const { Etcd3, Range } = etcd3;

const [address, ...names] = process.argv.slice(2);
const client = new Etcd3({ hosts: `http://${address}` });

const text = value => JSON.stringify(value, (_, v) => {
  if (v === undefined) return null;
  if (v && v.type === 'Buffer') return Buffer.from(v.data).toString();
  return v;
});
const print = (label, value) => console.log(`${label}: ${text(value)}`.replace(/\d{12,}/g, 'ID'));

// pair shows what etcd stores of a key, but for its lease.
const pair = kv => kv && {
  key: kv.key.toString(),
  value: kv.value.toString(),
  create: kv.create_revision,
  mod: kv.mod_revision,
  version: kv.version,
  leased: kv.lease !== '0',
};

// failure prints the class and the message of the error that a call ends with.
async function failure(label, call) {
  try {
    print(label, { unexpected: await call() });
  } catch (err) {
    print(label, { error: err.constructor.name, message: err.message });
  }
}

// until waits for a condition.
async function until(label, condition) {
  const deadline = Date.now() + 20000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`${label}: not within 20 s`);
    await new Promise(resolve => setTimeout(resolve, 20));
  }
}

// next returns the next arguments of an event.
const next = (emitter, event) => new Promise((resolve, reject) => {
  const timer = setTimeout(() => reject(new Error(`no ${event} within 20 s`)), 20000);
  emitter.once(event, (...args) => {
    clearTimeout(timer);
    resolve(args);
  });
});

const parts = {
  async kv() {
    print('put', (await client.put('kv/a').value('1')).header.revision);
    print('put number', (await client.put('kv/b').value(22)).header.revision);
    print('put json', (await client.put('kv/c').value(JSON.stringify({ x: [1] }))).header.revision);
    print('put bytes', (await client.put(Buffer.from([0x6b, 0x76, 0x2f, 0xff])).value(Buffer.from([0, 255]))).header.revision);
    print('get', await client.get('kv/a'));
    print('get nothing', await client.get('kv/none'));
    print('get number', await client.get('kv/b').number());
    print('get json', await client.get('kv/c').json());
    print('get bytes', (await client.get(Buffer.from([0x6b, 0x76, 0x2f, 0xff])).buffer()).toString('hex'));
    print('exists', [await client.get('kv/a').exists(), await client.get('kv/none').exists()]);
    print('metadata', pair((await client.get('kv/a').exec()).kvs[0]));
    print('put returning previous', pair(await client.put('kv/a').value('2').getPrevious()));
    print('touch', (await client.put('kv/a').touch()).header.revision);
    print('touched', pair((await client.get('kv/a').exec()).kvs[0]));
    await failure('touch nothing', () => client.put('kv/none').touch());
    print('get of the past', await client.get('kv/a').revision(2));
    await failure('get of the future', () => client.get('kv/a').revision(1000));
    await failure('put without a key', () => client.put('').value('x'));
    print('prefix', await client.getAll().prefix('kv/').strings());
    print('keys', await client.getAll().prefix('kv/').sort('Mod', 'Descend').keys());
    print('limited', await client.getAll().prefix('kv/').limit(2).sort('Key', 'Ascend').exec()
      .then(r => ({ kvs: r.kvs.map(pair), more: r.more, count: r.count })));
    print('count', await client.getAll().prefix('kv/').count());
    print('range', await client.getAll().inRange(new Range('kv/a', 'kv/c')).keys());
    print('revision filters', await client.getAll().prefix('kv/').minModRevision(3).maxCreateRevision(4).keys());
    print('serializable', await client.get('kv/a').serializable(true));
    print('delete', (await client.delete().key('kv/a')).deleted);
    print('delete again', (await client.delete().key('kv/a')).deleted);
    print('delete returning previous', (await client.delete().key('kv/b').getPrevious()).map(pair));
    print('delete prefix', (await client.delete().prefix('kv/')).deleted);
    print('nothing left', await client.getAll().prefix('kv/').count());
    await client.put('kv/d').value('1');
    const { header } = await client.put('kv/d').value('2');
    print('compact', (await client.kv.compact({ revision: header.revision, physical: true })).header.revision);
    await failure('get of the compacted past', () => client.get('kv/d').revision(header.revision - 1));
    await failure('compact again', () => client.kv.compact({ revision: header.revision }));
    print('maintenance', Object.keys(await client.maintenance.status()).sort());
    print('members', (await client.cluster.memberList({})).members.length);
  },

  async txn() {
    await client.put('txn/a').value('1');
    const create = value => client.if('txn/b', 'Create', '==', 0)
      .then(client.put('txn/b').value(value))
      .else(client.get('txn/b'))
      .commit();
    const show = r => ({
      succeeded: r.succeeded,
      revision: r.header.revision,
      responses: r.responses.map(p => p.response_range ? p.response_range.kvs.map(pair) : p.response),
    });
    print('create', show(await create('first')));
    print('create again', show(await create('second')));
    for (const [column, comparison, value] of [
      ['Value', '==', '1'], ['Value', '!=', '1'], ['Value', '<', '2'], ['Version', '>', 0], ['Version', '==', 2],
      ['Mod', '<', 2], ['Create', '>', 1], ['Lease', '==', 0],
    ]) {
      const r = await client.if('txn/a', column, comparison, value).then(client.get('txn/a')).else(client.get('txn/none')).commit();
      print(`${column} ${comparison} ${value}`, show(r));
    }
    print('several', show(await client.if('txn/a', 'Value', '==', '1').and('txn/b', 'Value', '==', 'first')
      .then(client.put('txn/c').value('3'), client.delete().key('txn/b'), client.getAll().prefix('txn/'))
      .commit()));
    await failure('the same key twice', () => client.if('txn/a', 'Version', '>', 0)
      .then(client.put('txn/a').value('x'), client.put('txn/a').value('y')).commit());
    print('unchanged', await client.get('txn/a'));
  },

  async watch() {
    const watcher = await client.watch().prefix('watch/').withPreviousKV().create();
    const events = [];
    watcher.on('put', (kv, previous) => events.push(['put', pair(kv), pair(previous)]));
    watcher.on('delete', (kv, previous) => events.push(['delete', kv.key.toString(), kv.mod_revision, pair(previous)]));
    const first = await client.put('watch/a').value('1');
    await client.put('watch/a').value('2');
    await client.put('elsewhere').value('x');
    await client.if('watch/b', 'Create', '==', 0).then(client.put('watch/b').value('1'), client.put('watch/c').value('1')).commit();
    await client.delete().prefix('watch/');
    await until('events', () => events.length === 7);
    events.forEach(event => print('event', event));
    await watcher.cancel();

    const past = [];
    const replay = await client.watch().key('watch/a').startRevision(first.header.revision).only('put').create();
    replay.on('put', kv => past.push(pair(kv)));
    await until('replayed events', () => past.length === 2);
    print('replayed', past);
    await client.put('watch/a').value('3');
    await until('a further event', () => past.length === 3);
    print('further', past[2]);
    await replay.cancel();

    const deletions = [];
    const deleting = await client.watch().key('watch/a').only('delete').create();
    deleting.on('delete', kv => deletions.push(kv.key.toString()));
    await client.put('watch/a').value('4');
    await client.delete().key('watch/a');
    await until('the deletion', () => deletions.length === 1);
    print('deletions', deletions);
    await deleting.cancel();

    await client.kv.compact({ revision: (await client.put('watch/a').value('5')).header.revision });
    const lost = client.watch().key('watch/a').startRevision(first.header.revision).watcher();
    const [err] = await next(lost, 'error');
    print('compacted', { error: err.constructor.name, message: err.message });
  },

  async stm() {
    await client.put('stm/from').value(100);
    await client.put('stm/to').value(0);
    const move = amount => client.stm({ retries: 100, isolation: 1 }).transact(async tx => {
      const from = await tx.get('stm/from').number();
      const to = await tx.get('stm/to').number();
      await tx.put('stm/from').value(from - amount);
      await tx.put('stm/to').value(to + amount);
    });
    await Promise.all(Array.from({ length: 8 }, (_, i) => move(i + 1)));
    print('moved', await client.getAll().prefix('stm/').numbers());
    const isolations = { SerializableSnapshot: 0, Serializable: 1, RepeatableReads: 2, ReadCommitted: 3 };
    for (const [name, isolation] of Object.entries(isolations)) {
      await client.stm({ isolation, prefetch: ['stm/from'] }).transact(async tx => {
        await tx.put('stm/from').value(await tx.get('stm/from').number() + 1);
        await tx.delete().key('stm/to');
      });
      print(name, await client.getAll().prefix('stm/').strings());
    }
    await failure('conflict', () => client.stm({ retries: 0 }).transact(async tx => {
      const value = await tx.get('stm/from').number();
      await client.put('stm/from').value(value + 1);
      await tx.put('stm/from').value(0);
    }));
    print('kept', await client.get('stm/from').number());
  },

  async namespace() {
    const ns = client.namespace('ns/').namespace('inner/');
    await ns.put('a').value('1');
    await ns.put('b').value('2');
    print('inside', await ns.getAll().strings());
    print('outside', await client.getAll().prefix('ns/').strings());
    const watcher = await ns.watch().prefix('').create();
    const keys = [];
    watcher.on('delete', kv => keys.push(kv.key.toString()));
    print('delete', (await ns.delete().all()).deleted);
    await until('deletions', () => keys.length === 2);
    print('deleted', keys);
    await watcher.cancel();
  },

  async lease() {
    const lease = client.lease(60, { autoKeepAlive: false });
    await lease.put('lease/a').value('1');
    await lease.put('lease/b').value('2');
    const id = await lease.grant();
    print('attached', (await client.getAll().prefix('lease/').exec()).kvs.map(kv => kv.lease === id));
    print('kept alive', (await lease.keepaliveOnce()).TTL);
    const left = await client.leaseClient.leaseTimeToLive({ ID: id, keys: true });
    print('time to live', [left.grantedTTL, Number(left.TTL) > 50, left.keys.map(String)]);
    print('leases', (await client.leaseClient.leaseLeases({})).leases.map(l => l.ID === id));
    await client.put('lease/a').value('3').ignoreLease();
    print('kept lease', (await client.get('lease/a').exec()).kvs[0].lease === id);
    await client.put('lease/b').value('4');
    print('dropped lease', (await client.get('lease/b').exec()).kvs[0].lease);
    await lease.revoke();
    print('revoked', await client.getAll().prefix('lease/').strings());
    await failure('put with a revoked lease', () => client.put('lease/c').value('1').lease(id));
    await failure('revoke again', () => client.leaseClient.leaseRevoke({ ID: id }));
    print('no time to live', (await client.leaseClient.leaseTimeToLive({ ID: id })).TTL);
    await failure('keep alive again', async () => {
      const late = client.lease(60, { autoKeepAlive: false });
      await client.leaseClient.leaseRevoke({ ID: await late.grant() });
      await late.keepaliveOnce();
    });

    const expiring = client.lease(2, { autoKeepAlive: false });
    await expiring.put('lease/expiring').value('1');
    const kept = client.lease(2);
    await kept.put('lease/kept').value('1');
    await next(kept, 'keepaliveSucceeded');
    await until('expiry', async () => !(await client.get('lease/expiring').exists()));
    print('kept by keep-alives', await client.get('lease/kept').exists());
    const lost = next(kept, 'lost');
    await client.leaseClient.leaseRevoke({ ID: await kept.grant() });
    print('lost', (await lost)[0].constructor.name);
  },

  // ttl is what works in Stele's lease mode ttl: a key with a TTL that nobody keeps alive.
  async ttl() {
    const { ID } = await client.leaseClient.leaseGrant({ TTL: 2 });
    await client.put('ttl/a').value('1').lease(ID);
    print('put', pair((await client.get('ttl/a').exec()).kvs[0]));
    await until('expiry', async () => !(await client.get('ttl/a').exists()));
    print('expired', await client.getAll().prefix('ttl/').count());
  },

  async lock() {
    const lock = client.lock('lock/a');
    await lock.acquire();
    await failure('held', () => client.lock('lock/a').acquire());
    await lock.release();
    print('released', await client.get('lock/a').exists());
    print('do', await client.lock('lock/a').ttl(10).do(async () => {
      await failure('held during do', () => client.lock('lock/a').acquire());
      return 'done';
    }));
    let held = 0;
    let most = 0;
    const work = async () => {
      for (;;) {
        try {
          return await client.lock('lock/b').do(async () => {
            most = Math.max(most, ++held);
            await new Promise(resolve => setTimeout(resolve, 5));
            held--;
          });
        } catch (err) {
          if (!(err instanceof etcd3.EtcdLockFailedError)) throw err;
          await new Promise(resolve => setTimeout(resolve, 5));
        }
      }
    };
    await Promise.all(Array.from({ length: 8 }, work));
    print('at most', most);
  },

  async election() {
    const election = client.election('leader', 5);
    await failure('leader of none', async () => text(await election.leader()));
    const observer = await election.observe();
    const seen = [];
    observer.on('change', value => seen.push(value === undefined ? null : value));
    const one = election.campaign('one');
    await one.wait();
    print('elected', await election.leader());
    await until('the observer', () => observer.leader() === 'one'); // it takes the last of several candidates otherwise
    const two = election.campaign('two');
    await until('the second candidate', async () => await client.getAll().prefix('election/leader/').count() === 2);
    await one.proclaim('one again');
    await until('the proclamation', () => observer.leader() === 'one again');
    await one.resign();
    await two.wait();
    await until('the successor', () => observer.leader() === 'two');
    print('successor', await election.leader());
    await failure('proclaim after resigning', () => one.proclaim('late'));
    await two.resign();
    await until('no leader', async () => (await election.leader()) === undefined);
    await until('no leader observed', () => observer.leader() === undefined);
    print('seen', seen.filter(value => value !== null));
    await observer.cancel();
  },

  async auth() {
    const role = await client.role('reader').create();
    await role.grant({ permission: 'Read', range: Range.prefix('auth/') });
    await role.grant([{ permission: 'Readwrite', key: 'auth/mine' }]);
    print('permissions', (await role.permissions()).map(p => [p.permission, p.range.start.toString(), p.range.end.toString()]));
    await role.revoke({ permission: 'Readwrite', key: 'auth/mine' });
    print('permissions left', (await role.permissions()).length);
    await failure('role exists', () => client.role('reader').create());
    await failure('no such role', () => client.role('none').permissions());
    const user = await client.user('alice').create('one');
    await user.addRole(role);
    print('roles', (await user.roles()).map(r => r.name));
    await failure('user exists', () => client.user('alice').create('x'));
    await failure('no such user', () => client.user('none').roles());
    await failure('no root', () => client.auth.authEnable());
    const root = await client.user('root').create('secret');
    await root.addRole(await client.role('root').create());
    await client.put('auth/a').value('1');
    await client.auth.authEnable();
    const as = (username, password) => new Etcd3({ hosts: `http://${address}`, auth: { username, password } });
    const admin = as('root', 'secret');
    const alice = as('alice', 'one');
    await failure('anonymous', () => client.get('auth/a'));
    print('allowed', await alice.get('auth/a'));
    await failure('a put', () => alice.put('auth/a').value('2'));
    await failure('elsewhere', () => alice.get('other'));
    await failure('wrong password', () => as('alice', 'wrong').get('auth/a'));
    await admin.user('alice').setPassword('two');
    print('the new password', await as('alice', 'two').get('auth/a'));
    await admin.role('reader').removeUser('alice');
    await failure('without the role', () => as('alice', 'two').get('auth/a'));
    print('users', (await admin.getUsers()).map(u => u.name));
    print('all roles', (await admin.getRoles()).map(r => r.name));
    await admin.user('alice').delete();
    await admin.auth.authDisable();
    await client.role('reader').delete();
    print('anonymous again', await client.get('auth/a'));
  },
};

(async () => {
  for (const name of names) {
    console.log(`--- ${name}`);
    await parts[name]();
  }
  process.exit(0);
})().catch(err => {
  console.log(`failed: ${err.stack}`);
  process.exit(1);
});
