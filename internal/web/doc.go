// Package web is what the agent serves over HTTP: metrics, the API and the page. It reads one immutable State and
// nothing else of the agent.
//
//   - server.go holds the routes, state.go what they read.
//   - api.go holds the shapes of /api/v1.
//   - page.go and page.html make the page; draw.go makes its bars and bands and writes numbers for readers.
//   - level.go finds the port space that runs out first, verdict.go says so, advice.go says what would help it.
//   - view.go holds what API and page both read from a snapshot.
//
// Who may ask: as Prometheus and node_exporter do, the server listens on all addresses by default and answers whatever
// Host a request names, since scrapers ask by address, by name and through proxies that the agent cannot know. A site
// that leads its own name to the agent's address in somebody's browser (DNS rebinding) can read what anybody on the
// network can read, and change nothing: at most, under --web.enable-lifecycle, it makes the agent read its own config
// again, once a second. --web.listen-address=127.0.0.1:9959 keeps the network out, TLS and basic auth of
// --web.config.file everybody without the password.
package web
