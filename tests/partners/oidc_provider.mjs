// A real OpenID provider on loopback, which lets in whoever gives a name. Arguments: its port, the address to return to,
// and the claims of each person as JSON. It ends with its standard input.
import Provider from "oidc-provider";

const [port, back, people] = process.argv.slice(2);
const claims = JSON.parse(people);
const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id: "hookhub", client_secret: "a-client-secret", redirect_uris: [back] }],
  claims: { openid: ["sub"], profile: ["name", "preferred_username"], email: ["email"], groups: ["groups"] },
  scopes: ["openid", "profile", "email", "groups"],
  cookies: { keys: ["a-key"] },
  features: { devInteractions: { enabled: true } },
  pkce: { required: () => true },
  findAccount: (_, id) => ({ accountId: id, claims: async () => ({ sub: id, ...claims[id] }) }),
});
provider.listen(Number(port), "127.0.0.1", () => console.log("ready"));
process.stdin.on("end", () => process.exit(0)).resume();
