"use strict";
// Every request of the page carries what stands under "Headers", so a key is pasted once.
ReactDOM.createRoot(document.getElementById("graphiql")).render(
  React.createElement(GraphiQL, {
    fetcher: GraphiQL.createFetcher({ url: location.pathname }),
    defaultHeaders: '{\n  "Authorization": "Bearer "\n}',
    defaultEditorToolsVisibility: "headers",
    shouldPersistHeaders: true,
    defaultQuery: [
      "# Paste a key or a customer's token under Headers, below. Then run this.",
      "",
      "{",
      "  plans(first: 10) {",
      "    edges {",
      "      node {",
      "        key",
      "        name",
      "        features { feature { name } enabled value limits { window units code status } }",
      "      }",
      "    }",
      "  }",
      "}",
      "",
    ].join("\n"),
  }),
);
