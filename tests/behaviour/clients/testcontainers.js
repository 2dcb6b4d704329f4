// testcontainers of npm: a service that is waited for, asked, and removed. NODE_PATH says where it is.
const assert = require('node:assert');
const { GenericContainer, Wait } = require('testcontainers');

(async () => {
  const server = 'mkdir /www; echo served >/www/index.html; echo ready; exec httpd -f -h /www -p 80';
  const container = await new GenericContainer('busybox:latest')
    .withCommand(['sh', '-c', server])
    .withExposedPorts(80)
    .withEnvironment({ A: 'b' })
    .withLabels({ tier: 'web' })
    .withTmpFs({ '/scratch': 'rw' })
    .withWaitStrategy(Wait.forAll([Wait.forLogMessage('ready'), Wait.forListeningPorts()]))
    .start();
  const answer = await fetch(`http://127.0.0.1:${container.getMappedPort(80)}/`);
  assert.strictEqual(await answer.text(), 'served\n');
  const told = await container.exec(['sh', '-c', 'echo $A; touch /scratch/x; exit 4']);
  assert.deepStrictEqual([told.output, told.exitCode], ['b\n', 4]);
  await container.restart();
  assert.strictEqual((await container.exec(['cat', '/www/index.html'])).output, 'served\n');
  await container.stop();
  console.log('done');
})().catch((error) => { console.error(error); process.exitCode = 1; });
