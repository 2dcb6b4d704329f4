// dockerode through what its users do all day; a failed assertion is exit code 1. NODE_PATH says where dockerode is.
const assert = require('node:assert');
const { PassThrough } = require('node:stream');
const { once } = require('node:events');
const Docker = require('dockerode');

const docker = new Docker(); // by DOCKER_HOST

async function text(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

function split(multiplexed) {
  const out = new PassThrough();
  const err = new PassThrough();
  docker.modem.demuxStream(multiplexed, out, err);
  multiplexed.on('end', () => { out.end(); err.end(); });
  return Promise.all([text(out), text(err)]);
}

async function runs() {
  const out = new PassThrough();
  const [result, container] = await docker.run('busybox', ['sh', '-c', 'echo hello; exit 3'], out, { name: 'ran', Tty: false });
  assert.strictEqual(result.StatusCode, 3);
  assert.match((await container.inspect()).Name, /^\/ran$/);
  await container.remove();
}

async function life() {
  const container = await docker.createContainer({
    Image: 'busybox', Cmd: ['sleep', '3600'], name: 'job', Env: ['A=b'], Labels: { tier: 'db' },
    ExposedPorts: { '80/tcp': {} }, HostConfig: { PortBindings: { '80/tcp': [{ HostPort: '' }] } },
  });
  await container.start();
  const seen = await container.inspect();
  assert.ok(seen.State.Running && seen.NetworkSettings.Ports['80/tcp'][0].HostPort);
  const listed = await docker.listContainers({ filters: { label: ['tier=db'] } });
  assert.deepStrictEqual(listed.map((one) => one.Names), [['/job']]);

  const exec = await container.exec({ Cmd: ['sh', '-c', 'cat; echo $A >&2; exit 4'], AttachStdin: true, AttachStdout: true, AttachStderr: true });
  const stream = await exec.start({ hijack: true, stdin: true });
  const told = split(stream);
  stream.end('typed');
  assert.deepStrictEqual(await told, ['typed', 'b\n']);
  assert.strictEqual((await exec.inspect()).ExitCode, 4);

  await container.pause();
  assert.strictEqual((await container.inspect()).State.Status, 'paused');
  await container.unpause();
  await container.rename({ name: 'work' });
  await container.stop({ t: 0 });
  await assert.rejects(container.stop(), (error) => error.statusCode === 304);
  assert.strictEqual((await container.wait()).StatusCode, 137);
  await container.remove();
  await assert.rejects(container.inspect(), (error) => error.statusCode === 404 && /No such container/.test(error.json.message));
}

async function attaches() {
  const container = await docker.createContainer({ Image: 'busybox', Cmd: ['cat'], OpenStdin: true, StdinOnce: true });
  const stream = await container.attach({ stream: true, hijack: true, stdin: true, stdout: true, stderr: true });
  const told = split(stream);
  await container.start();
  stream.end('through and back');
  assert.deepStrictEqual(await told, ['through and back', '']);
  assert.strictEqual((await container.wait()).StatusCode, 0);
  assert.match((await container.logs({ stdout: true, timestamps: true })).toString(), /Z through and back$/);
  await container.remove();
}

async function volumesAndEvents() {
  const events = await docker.getEvents({ filters: { container: ['heard-of'] } });
  await docker.createVolume({ Name: 'data' });
  const container = await docker.createContainer({ Image: 'busybox', name: 'heard-of', HostConfig: { Binds: ['data:/data'] } });
  const [line] = await once(events, 'data');
  const event = JSON.parse(line);
  assert.deepStrictEqual([event.Action, event.Actor.ID], ['create', container.id]);
  events.destroy();
  await container.remove();
  assert.deepStrictEqual((await docker.listVolumes()).Volumes.map((one) => one.Name), ['data']);
  await docker.getVolume('data').remove();
}

(async () => {
  assert.strictEqual((await docker.version()).ApiVersion, '1.44');
  for (const scenario of [runs, life, attaches, volumesAndEvents]) await scenario();
  console.log('done');
})().catch((error) => { console.error(error); process.exitCode = 1; });
