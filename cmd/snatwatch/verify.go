package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/snatwatch/snatwatch/internal/config"
	"github.com/snatwatch/snatwatch/internal/remote"
	"github.com/snatwatch/snatwatch/internal/verify"
)

// verifyFlags are the flags of the stress test.
type verifyFlags struct {
	verify.Options
	target, agent, budget string
	ports                 int
	portsSet              bool
	json                  bool
	serve                 bool
	listen                string
	server                verify.Server
}

func verifyCommand(app *kingpin.Application) command {
	var f verifyFlags
	c := app.Command("verify", "The stress test of a budget: opens TCP flows to a server of yours until no "+
		"port is left or the limit is reached, says how many opened and how the others failed, and releases them all.")
	c.Flag("target", "Address and port, or name and port, of a server that you "+
		"own.").PlaceHolder("HOST:PORT").StringVar(&f.target)
	c.Flag("limit", "Most flows to open, failed ones included.").PlaceHolder("N").IntVar(&f.Limit)
	c.Flag("rate", "Flows to open each second, at most 1000.").Default("50").IntVar(&f.Rate)
	c.Flag("pending", "Flows that may wait for an answer before no more are opened.").Default("50").IntVar(&f.Pending)
	c.Flag("stop-after", "Flows in a row that fail before the test stops.").Default("50").IntVar(&f.StopAfter)
	c.Flag("timeout", "How long a flow may take to open.").Default("10s").DurationVar(&f.Timeout)
	c.Flag("hold", "How long all flows stay open at the end.").Default("5s").DurationVar(&f.Hold)
	c.Flag("ports", "The budget to compare with: ports of this node to one "+
		"destination.").PlaceHolder("N").IsSetByUser(&f.portsSet).IntVar(&f.ports)
	c.Flag("agent", "Agent of this node, which tells the budget and what is held of it "+
		"already.").PlaceHolder("URL").StringVar(&f.agent)
	c.Flag("budget", "The agent's budget that the target counts in, where there are "+
		"several.").PlaceHolder("NAME").StringVar(&f.budget)
	c.Flag("json", "Print JSON instead of text.").BoolVar(&f.json)
	c.Flag("serve", "Be the far end instead: hold what callers open and tell each where it came "+
		"from.").BoolVar(&f.serve)
	c.Flag("listen", "Where the far end listens.").Default(":9960").StringVar(&f.listen)
	c.Flag("serve-limit", "Flows that the far end holds at most.").Default("100000").IntVar(&f.server.Limit)
	return command{c, func(ctx context.Context, e *env, logger *slog.Logger) error {
		if f.serve {
			return serveVerify(ctx, e, &f)
		}
		return runVerify(ctx, e, &f, logger)
	}}
}

func serveVerify(ctx context.Context, e *env, f *verifyFlags) error {
	switch {
	case f.target != "" || f.Limit != 0:
		return errors.New("verify: --serve is the far end: it takes no --target and no --limit")
	case f.server.Limit < 1:
		return fmt.Errorf("verify: serve-limit %d: want 1 or more", f.server.Limit)
	}
	if !config.Listenable(f.listen) {
		return fmt.Errorf("verify: --listen: %s: want an address such as :9960 or 127.0.0.1:9960", f.listen)
	}
	l, err := verify.Listen(ctx, f.listen)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	_, _ = fmt.Fprintf(e.stdout, "listening on %v; each caller gets its address as we see it, and its flow is "+
		"held until the caller ends it\n", l.Addr())
	return f.server.Serve(ctx, l)
}

func runVerify(ctx context.Context, e *env, f *verifyFlags, logger *slog.Logger) error {
	if err := f.check(); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	var err error
	if f.Target, err = resolveTarget(ctx, f.target); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	budget := verify.Budget{Ports: f.ports}
	if f.agent != "" {
		var held remote.Space
		if budget, held, err = f.settled(ctx, logger); err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		f.HeldBefore, f.CoolingBefore = held.Held, held.Cooling
	}
	f.Progress = func(p verify.Progress) {
		logger.Info(p.Doing, "attempted", p.Attempted, "open", p.Open, "opening", p.Opening, "failed", p.Failed)
	}
	r, err := verify.Run(ctx, f.Options)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	if budget.Ports > 0 {
		r.Judge(budget)
	}
	if f.json {
		err = r.WriteJSON(e.stdout)
	} else {
		err = r.WriteText(e.stdout)
	}
	switch {
	case err != nil:
		return fmt.Errorf("verify: write report: %w", err)
	case r.Verdict != nil && r.Verdict.Outcome != verify.Confirmed:
		return errors.New("verify: " + r.Verdict.Text)
	case r.Open == 0:
		return errors.New("verify: no flow opened")
	}
	return nil
}

// check refuses flags that make no sense.
func (f *verifyFlags) check() error {
	if f.target == "" || f.Limit == 0 {
		return errors.New("name a server that you own and a limit: --target HOST:PORT --limit N")
	}
	switch {
	case f.portsSet && f.agent != "":
		return errors.New("the budget comes from --agent or from --ports: give one")
	case f.portsSet && f.ports < 1:
		return fmt.Errorf("ports %d: want 1 or more", f.ports)
	}
	for _, n := range []struct { // verify takes 0 of these flags for "not given"
		flag string
		zero bool
	}{
		{"rate", f.Rate == 0},
		{"pending", f.Pending == 0},
		{"stop-after", f.StopAfter == 0},
		{"timeout", f.Timeout == 0},
		{"hold", f.Hold == 0},
	} {
		if n.zero {
			return fmt.Errorf("%s: 0, want more", n.flag)
		}
	}
	return nil
}

// resolveTarget returns the one address that a target names. A name of several addresses would be several
// destinations, each with ports of its own.
func resolveTarget(ctx context.Context, target string) (netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(target); err == nil {
		return a, nil
	}
	host, service, err := net.SplitHostPort(target)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("target %q: want HOST:PORT", target)
	}
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("target %q: %w", target, err)
	}
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("target %q: %w", target, err)
	}
	if len(addrs) > 1 {
		return netip.AddrPort{}, fmt.Errorf("target %q: has the addresses %v, and each is a destination of "+
			"its own: name one", target, addrs)
	}
	return netip.AddrPortFrom(addrs[0].Unmap(), uint16(port)), nil
}

// lookMost is how long ago an agent may have looked at the kernel: its longest interval between dumps, and a second.
const lookMost = 11 * time.Second

// settled asks the agent for the budget and for what is held. The agent may show flows that have ended since its last
// look, for instance the flows of a test just before. Where it shows flows, settled asks until the agent has looked
// again.
func (f *verifyFlags) settled(ctx context.Context, logger *slog.Logger) (b verify.Budget, held remote.Space,
	err error,
) {
	for end := time.Now().Add(lookMost); ; {
		b, held, err = askBudget(ctx, f.agent, f.budget, f.Target)
		if err != nil || held.Live == 0 || time.Now().After(end) {
			return b, held, err
		}
		logger.Info("flows to the target are open: waiting until the agent has looked again", "live", held.Live)
		select {
		case <-ctx.Done():
			return b, held, ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// askBudget returns the agent's budget that a target counts in, and what is held of it to that target.
func askBudget(ctx context.Context, agent, name string, target netip.AddrPort) (b verify.Budget, held remote.Space,
	err error,
) {
	s, err := remote.Agent(ctx, agent)
	if err != nil {
		return b, held, err
	}
	if !s.Ready {
		return b, held, fmt.Errorf("agent at %s has not seen a complete dump yet", agent)
	}
	var names []string
	for i := range s.Budgets {
		ab := &s.Budgets[i]
		terms := ab.TermsOf("tcp")
		if terms == nil || name != "" && ab.Name != name {
			continue
		}
		names = append(names, ab.Name)
		b = verify.Budget{Name: ab.Name, Ports: terms.Ports, Effective: terms.Effective}
		held = heldTo(ab, target)
	}
	switch {
	case len(names) == 0 && name != "":
		return b, held, fmt.Errorf("agent at %s has no TCP budget %q", agent, name)
	case len(names) == 0:
		return b, held, fmt.Errorf("agent at %s has no TCP budget", agent)
	case len(names) > 1:
		return b, held, fmt.Errorf("agent at %s has the budgets %q: say which with --budget", agent, names)
	}
	return b, held, nil
}

// heldTo returns the port space of a budget that the target counts in, none where nothing is held; where VIPs are
// spaces of their own, the fullest counts.
func heldTo(b *remote.Budget, target netip.AddrPort) (fullest remote.Space) {
	for _, p := range b.Protocols {
		if p.Protocol != "tcp" {
			continue
		}
		for _, s := range p.Spaces {
			if s.Ports > 0 { // of low ports, which no flow of the test has
				continue
			}
			to := s.Destination == target.String() || s.Destination == target.Addr().String()+":*" || s.Destination == "*"
			if to && s.Held > fullest.Held {
				fullest = s
			}
		}
	}
	return fullest
}
