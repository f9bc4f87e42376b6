const { readFileSync } = require("node:fs");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [root, address, ...files] = process.argv.slice(2);
const options = { keepCase: true, longs: String, bytes: String, enums: String, includeDirs: [root] };
const described = ["oip", "health"].map((name) => `bentos/protos/${name}.proto`);
const { inference, grpc: standard } = grpc.loadPackageDefinition(loader.loadSync(described, options));
const plain = grpc.credentials.createInsecure();
const health = new standard.health.v1.Health(address, plain);
const model = new inference.GRPCInferenceService(address, plain);

const say = (client, method, request) =>
  new Promise((done) =>
    client[method](request, { deadline: Date.now() + 30_000 }, (error, answer) => {
      const said = error ? error.details : JSON.stringify(answer);
      console.log(error ? error.code : 0, said.replaceAll("\n", " "));
      done();
    }),
  );

(async () => {
  await say(health, "Check", {});
  for (const file of files) await say(model, "ModelInfer", JSON.parse(readFileSync(file)));
  health.close();
  model.close();
})();
