package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/exporter-toolkit/web"
	"golang.org/x/time/rate"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// Server answers HTTP from the current state alone.
type Server struct {
	state  func() *State
	age    func() time.Duration
	reload func() error
	page   *page
	logger *slog.Logger
	// lifecycle and profiling are the routes that a flag adds.
	lifecycle, profiling bool
	scrapes              chan struct{} // holds one for each scrape that is answered now
	reloads              *rate.Limiter
}

// Config is what a server takes; all but History is needed.
type Config struct {
	// State returns the current state, from any goroutine.
	State func() *State
	// Age returns how old the current state's snapshot is.
	Age func() time.Duration
	// Reload reads the agent's config again. An error means that the last good config stays in place.
	Reload func() error
	Logger *slog.Logger
	// History of the last hour, for the page; nil is none.
	History *History
	// Lifecycle lets POST /-/reload reload the config.
	Lifecycle bool
	// Profiling serves /debug/pprof/.
	Profiling bool
}

// Scrapes and reloads that would cost more than they are worth must wait.
const (
	// scrapesAtOnce is how many scrapes are answered at a time. The next one waits scrapeWait for its turn,
	// which is shorter than Prometheus' scrape timeout of 10 s.
	scrapesAtOnce = 4
	scrapeWait    = 5 * time.Second
	// reloadEvery is the least time between two reloads over HTTP, once reloadBurst came at once.
	reloadEvery = time.Second
	reloadBurst = 3
)

// New returns a server that is not listening yet.
func New(c Config) (*Server, error) {
	page, err := newPage(c.History, c.Logger)
	if err != nil {
		return nil, err
	}
	return &Server{
		state: c.State, age: c.Age, reload: c.Reload, page: page, logger: c.Logger,
		lifecycle: c.Lifecycle, profiling: c.Profiling,
		scrapes: make(chan struct{}, scrapesAtOnce), reloads: rate.NewLimiter(rate.Every(reloadEvery), reloadBurst),
	}, nil
}

// Handler returns the routes. Reads are GET, the one write is POST.
func (s *Server) Handler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		metrics.NewCollector(s.view),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(reg,
		s.inTurn(promhttp.HandlerFor(withoutNetwork{reg}, promhttp.HandlerOpts{
			ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelError),
			Timeout:           9 * time.Second,
			EnableOpenMetrics: true,
			CoalesceGather:    true,
		}))))
	mux.HandleFunc("GET /{$}", s.showPage)
	mux.HandleFunc("GET /api/v1/snapshot", s.snapshot)
	mux.HandleFunc("GET /api/v1/budgets", s.budgets)
	mux.HandleFunc("GET /-/healthy", s.healthy)
	mux.HandleFunc("GET /-/ready", s.ready)
	mux.HandleFunc("POST /-/reload", s.handleReload)
	if s.profiling {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return secured(http.NewCrossOriginProtection().Handler(mux))
}

// withoutNetwork gathers all but process_network_*: what client_golang says there of the process is the traffic of all
// programs in its network namespace.
type withoutNetwork struct{ prometheus.Gatherer }

// Gather returns the metrics sorted by name, and what it could gather beside an error.
func (g withoutNetwork) Gather() ([]*dto.MetricFamily, error) {
	families, err := g.Gatherer.Gather()
	return slices.DeleteFunc(families, func(f *dto.MetricFamily) bool {
		return strings.HasPrefix(f.GetName(), "process_network_")
	}), err
}

// view is what a scrape shows: the current view, as old as its snapshot is by now.
func (s *Server) view() *metrics.View {
	v := *s.state().View
	v.Age = s.age()
	return &v
}

// secured adds to every answer the headers that keep a browser from lending the page to others. The page's own style
// and script are inline.
func secured(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "+
			"img-src 'self' data:; "+
			"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "SAMEORIGIN")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}

// inTurn lets scrapesAtOnce requests through at a time. The others wait; after scrapeWait they are answered with 503.
func (s *Server) inTurn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		timeout := time.NewTimer(scrapeWait)
		defer timeout.Stop()
		select {
		case s.scrapes <- struct{}{}:
			defer func() { <-s.scrapes }()
			next.ServeHTTP(w, r)
		case <-r.Context().Done():
		case <-timeout.C:
			w.Header().Set("Retry-After", "5")
			http.Error(w, fmt.Sprintf("%d other scrapes take too long", scrapesAtOnce), http.StatusServiceUnavailable)
		}
	})
}

func (s *Server) showPage(w http.ResponseWriter, _ *http.Request) {
	s.page.write(w, s.state(), s.age())
}

func (s *Server) snapshot(w http.ResponseWriter, _ *http.Request) {
	st := s.state()
	if st.View.Snapshot == nil {
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"error": "no snapshot yet"})
		return
	}
	writeJSON(w, http.StatusOK, newAPISnapshot(st))
}

func (s *Server) budgets(w http.ResponseWriter, _ *http.Request) {
	out := []apiBudget{}
	for _, b := range s.state().Budgets {
		out = append(out, newAPIBudget(b))
	}
	writeJSON(w, http.StatusOK, map[string][]apiBudget{"budgets": out})
}

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) {
	if age := s.age(); age > staleAfter {
		http.Error(w, fmt.Sprintf("last snapshot is %s old", age.Round(time.Second)), http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "healthy")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if !s.state().Ready {
		http.Error(w, "no complete dump yet", http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintln(w, "ready")
}

func (s *Server) handleReload(w http.ResponseWriter, _ *http.Request) {
	if !s.lifecycle {
		http.Error(w, "reload over HTTP is off: start with --web.enable-lifecycle, or send SIGHUP", http.StatusForbidden)
		return
	}
	if !s.reloads.Allow() {
		w.Header().Set("Retry-After", "1")
		http.Error(w, fmt.Sprintf("too many reloads: want at most one each %v", reloadEvery), http.StatusTooManyRequests)
		return
	}
	if err := s.reload(); err != nil {
		http.Error(w, "config refused, the last good one stays in place: "+err.Error(), http.StatusUnprocessableEntity)
		return
	}
	_, _ = fmt.Fprintln(w, "config reloaded")
}

// explained says what helps where a port cannot be had.
func explained(err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: another program listens there; take another port with --web.listen-address, or listen "+
			"in the config", err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%w: a port below 1024 takes CAP_NET_BIND_SERVICE; take another with --web.listen-address, or "+
			"listen in the config", err)
	}
	return err
}

// Serve answers until ctx is cancelled, then lets requests under way finish.
func (s *Server) Serve(ctx context.Context, flags *web.FlagConfig) error {
	srv := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.logger.Handler(), slog.LevelDebug),
	}
	done := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		done <- srv.Shutdown(grace)
	})
	err := web.ListenAndServe(srv, flags, s.logger)
	if stop() { // not cancelled: the server failed by itself
		return explained(err)
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, <-done)
}
