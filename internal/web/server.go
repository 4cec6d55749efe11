package web

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"

	"github.com/snatwatch/snatwatch/detector/metrics"
)

// staleAfter is the age at which a snapshot says that the ledger's loop hangs:
// it makes one every second, and a batch of a dump takes milliseconds.
const staleAfter = 30 * time.Second

// Server answers HTTP from the current state alone.
type Server struct {
	state  func() *State
	age    func() time.Duration
	reload func() error
	tmpl   *template.Template
	logger *slog.Logger
}

// Config is what a server takes; all of it is needed.
type Config struct {
	// State returns the current state, from any goroutine.
	State func() *State
	// Age returns how old the current state's snapshot is.
	Age func() time.Duration
	// Reload reads the agent's config again. An error means that the config before stands.
	Reload func() error
	Logger *slog.Logger
}

// New returns a server that is not listening yet.
func New(c Config) (*Server, error) {
	tmpl, err := parsePage()
	if err != nil {
		return nil, fmt.Errorf("parse page: %w", err)
	}
	return &Server{state: c.State, age: c.Age, reload: c.Reload, tmpl: tmpl, logger: c.Logger}, nil
}

// Handler returns the routes. Reads are GET, the one write is POST.
func (s *Server) Handler() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		metrics.NewCollector(func() *metrics.View { return s.state().View }),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.InstrumentMetricHandler(reg, promhttp.HandlerFor(reg, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(s.logger.Handler(), slog.LevelError),
		MaxRequestsInFlight: 4,
		Timeout:             9 * time.Second,
		EnableOpenMetrics:   true,
		CoalesceGather:      true,
	})))
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /api/v1/snapshot", s.snapshot)
	mux.HandleFunc("GET /api/v1/budgets", s.budgets)
	mux.HandleFunc("GET /-/healthy", s.healthy)
	mux.HandleFunc("GET /-/ready", s.ready)
	mux.HandleFunc("POST /-/reload", s.handleReload)
	return http.NewCrossOriginProtection().Handler(mux)
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
	if err := s.reload(); err != nil {
		http.Error(w, "config refused, the one before stands: "+err.Error(), http.StatusUnprocessableEntity)
		return
	}
	_, _ = fmt.Fprintln(w, "config reloaded")
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
		return err
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return errors.Join(err, <-done)
}
