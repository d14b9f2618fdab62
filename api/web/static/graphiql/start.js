"use strict";
// A key may come behind the "#" of the address, which no browser sends to any server.
const key = new URLSearchParams(location.hash.slice(1)).get("key");
const headers = JSON.stringify({ Authorization: `Bearer ${key ?? ""}` }, null, 2);

// Until a key is pasted the schema can be looked at, by nobody in particular.
function send(url, options) {
  const given = new Headers(options.headers);
  if ((given.get("Authorization") ?? "").trim() === "Bearer") given.delete("Authorization");
  return fetch(url, { ...options, headers: given });
}

ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: location.pathname, fetch: send }),
    defaultHeaders: headers,
    headers: key === null ? undefined : headers,
    defaultEditorToolsVisibility: "headers",
    shouldPersistHeaders: true,
    defaultQuery: [
      "# Paste a key or a customer's token under Headers, below.",
      "# Then run this.",
      "{",
      "  plans(first: 10) {",
      "    edges {",
      "      node {",
      "        key",
      "        name",
      "        features {",
      "          feature { name kind }",
      "          enabled",
      "          value",
      "          limits { window units code status }",
      "        }",
      "      }",
      "    }",
      "  }",
      "}",
      "",
    ].join("\n"),
  }),
);
