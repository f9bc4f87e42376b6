// node custom.mjs NODE_MODULES < OBJECTS: print what the packages @kubernetes-models/* find wrong with objects of the Gateway API and of
// the Prometheus Operator. They check types, patterns and required fields; fields that they do not know, they pass.
import fs from "node:fs";

const folders = {
  "gateway.networking.k8s.io/v1": ["gateway-api", "IoK8sSigsGatewayApiApisV1"],
  "monitoring.coreos.com/v1": ["prometheus-operator", "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1"],
};
const found = [];
for (const each of JSON.parse(fs.readFileSync(0, "utf8"))) {
  const [name, prefix] = folders[each.apiVersion];
  const { validate } = await import(`${process.argv[2]}/@kubernetes-models/${name}/_schemas/${prefix}${each.kind}.js`);
  if (!validate(each)) found.push(...validate.errors.map((error) => `${each.kind} ${error.instancePath} ${error.message}`));
}
console.log(JSON.stringify(found));
