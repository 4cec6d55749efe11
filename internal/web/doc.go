// Package web is what the agent serves over HTTP: metrics, the API and the page. It reads one immutable State and
// nothing else of the agent.
//
//   - server.go holds the routes, state.go what they read.
//   - api.go holds the shapes of /api/v1.
//   - page.go and page.html make the page; draw.go makes its bars and bands and writes numbers for readers.
//   - level.go finds the port space that runs out first, verdict.go says so, advice.go says what would help it.
//   - view.go holds what API and page both read from a snapshot.
package web
