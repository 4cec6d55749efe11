// Package web is what the agent serves over HTTP: metrics, the API and the page. It reads one immutable State and
// nothing else of the agent.
//
//   - server.go holds the routes, state.go what they read.
//   - api.go holds the shapes of /api/v1.
//   - page.go and page.html make the page; draw.go makes its bars and bands and writes numbers for readers.
//   - verdict.go says which port space runs out first, advice.go what would help it.
package web
