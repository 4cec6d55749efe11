package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/snatwatch/snatwatch/internal/kerneltest"
	"github.com/snatwatch/snatwatch/internal/lab"
	"github.com/snatwatch/snatwatch/internal/logtest"
	"github.com/snatwatch/snatwatch/internal/prom"
)

// sender is one of those whose flows the incident is made of: the kind and name of the owner, and what it tells of the
// flows that it holds and has opened.
type sender struct {
	owner string
	tell  func() string
}

// settled reports whether the latest that s told is this.
func (s sender) settled(t *testing.T, live, opened int) bool {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(s.tell()), "\n")
	return lines[len(lines)-1] == fmt.Sprintf("live %d opened %d", live, opened)
}

// label is how texts name s: with its kind.
func label(s sender) string {
	kind, name, _ := strings.Cut(s.owner, " ")
	return regexp.QuoteMeta(name + " (" + kind + ")")
}

// inContainer starts the caller in a container, with a namespace of its own behind the router.
func inContainer(t *testing.T, image, name string, h *lab.Host, args ...string) sender {
	t.Helper()
	name = fmt.Sprintf("%s-%d", name, kerneltest.Unique())
	runContainer(t, image, name, h, args...)
	return sender{"container " + name, func() string {
		out, _ := exec.Command("podman", "logs", "--tail", "1", name).Output() // it may not have begun
		return string(out)
	}}
}

// onHost starts the caller as a process of the router itself, in no unit.
func onHost(t *testing.T, program string, h *lab.Host, args ...string) sender {
	t.Helper()
	logs := &logtest.Lines{}
	cmd := exec.Command(program, args...)
	cmd.Stdout = logs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := h.Do(cmd.Start); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return sender{"process " + filepath.Base(program), func() string { return strings.Join(logs.All(), "") }}
}

// watchers are a Prometheus that scrapes the agent and evaluates the rules every second, and an Alertmanager with the
// sample's routes. pages are the texts of one alert that were delivered as pages.
type watchers struct {
	*prom.Server
	alert string
	pages *logtest.Lines
}

func watch(t *testing.T, a *runningAgent, alert string) watchers {
	t.Helper()
	w := watchers{alert: alert, pages: &logtest.Lines{}}
	hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var n struct {
			Receiver string
			Alerts   []struct{ Labels, Annotations map[string]string }
		}
		if json.NewDecoder(r.Body).Decode(&n) != nil || n.Receiver != "page" {
			return
		}
		for _, a := range n.Alerts {
			if a.Labels["alertname"] == alert {
				_, _ = w.pages.Write([]byte(a.Annotations["description"]))
			}
		}
	}))
	t.Cleanup(hook.Close)
	sample, err := os.ReadFile("../../deploy/alertmanager/alertmanager.yml")
	if err != nil {
		t.Fatal(err)
	}
	name, err := prom.Find("prometheus-alertmanager", "alertmanager")
	if err != nil {
		kerneltest.Program(t, "prometheus-alertmanager", "prometheus-alertmanager")
	}
	manager, err := prom.Alertmanager(t.Context(), name, t.TempDir(),
		strings.ReplaceAll(string(sample), "127.0.0.1:9099", strings.TrimPrefix(hook.URL, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := filepath.Abs("../../rules")
	if err != nil {
		t.Fatal(err)
	}
	w.Server, err = prom.Prometheus(t.Context(), kerneltest.Program(t, "prometheus", "prometheus"), t.TempDir(), fmt.Sprintf(
		`global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [%q]
alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}
scrape_configs: [{job_name: snatwatch, static_configs: [{targets: [%q]}]}]
`, filepath.Join(rules, "*.yaml"), strings.TrimPrefix(manager.URL, "http://"), strings.TrimPrefix(a.url, "http://")))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// text returns what the alert says now, empty while it does not fire.
func (w watchers) text(t *testing.T) string {
	t.Helper()
	var data struct {
		Alerts []struct{ Labels, Annotations map[string]string }
	}
	if err := w.API(t.Context(), "/api/v1/alerts", &data); err != nil {
		t.Fatal(err)
	}
	for _, a := range data.Alerts {
		if a.Labels["alertname"] == w.alert {
			return a.Annotations["description"]
		}
	}
	return ""
}

// holdersPanel returns how many ports the panel of the Node board shows for each owner.
func (w watchers) holdersPanel(t *testing.T) map[string]int {
	t.Helper()
	text, err := os.ReadFile("../../dashboards/snatwatch-node.json")
	if err != nil {
		t.Fatal(err)
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		t.Fatal(err)
	}
	shown := map[string]int{}
	for _, p := range board.Panels {
		if p.Title != "Who holds the ports?" {
			continue
		}
		expr := regexp.MustCompile(`="\$[a-z]+"|=~"\$[a-z]+"`).ReplaceAllString(p.Targets[0].Expr, `=~".*"`)
		samples, err := w.Query(t.Context(), expr)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range samples {
			n, err := strconv.Atoi(s.Value)
			if err != nil {
				t.Fatal(err)
			}
			if n > 0 {
				shown[s.Labels["owner_kind"]+" "+s.Labels["owner"]] = n
			}
		}
	}
	return shown
}

// The incident: two containers and a process of the router itself hold the 1024 ports of one VIP, and the process wants
// more. The page that is delivered, the agent's page and API and the Node board name all three with what they hold, as
// they count it themselves. Until then the containers replace flows, and none of these is lost or counted twice.
// SCREENSHOTS=DIR keeps a picture of the page.
func TestKernelOwnersOfTheIncident(t *testing.T) {
	if os.Getenv("KERNEL_TESTS") != "require" {
		t.Skip("takes a minute: KERNEL_TESTS=require runs it")
	}
	requirePodman(t)
	if !kerneltest.OwnProcesses(t) {
		return
	}
	l, to := holdingLab(t, 2, 3023)
	a := routerAgent(t, l, "2000-3023")
	w := watch(t, a, "SnatPortsExhausted")

	image, program := containerImage(t, "./testdata/caller")
	checkout := inContainer(t, image, "checkout", l.Node(0), to.String(), "612", "200")
	fetcher := inContainer(t, image, "fetcher", l.Node(1), to.String(), "300", "100")
	batch := onHost(t, program, l.Router(), to.String(), "20", "0")
	want := map[string]int{checkout.owner: 612, fetcher.owner: 300, batch.owner: 20}
	a.within(3*time.Minute, "the containers have replaced their flows", func() bool {
		return checkout.settled(t, 612, 812) && fetcher.settled(t, 300, 400) && batch.settled(t, 20, 20)
	})
	var held int
	var got map[string]int
	holds := func(all int) {
		t.Helper()
		a.within(3*time.Minute, fmt.Sprintf("%d ports are held as their owners say", all), func() bool {
			held, got = a.heldBy()
			return held == all && cmp.Equal(want, got)
		})
	}
	holds(932)

	more := onHost(t, program, l.Router(), to.String(), "142", "0")
	want[batch.owner] = 112
	a.within(3*time.Minute, "the process takes the ports that are left", func() bool { return more.settled(t, 92, 92) })
	holds(1024)
	for owner, n := range map[string]int{checkout.owner: 812, fetcher.owner: 400, batch.owner: 112} {
		kind, name, _ := strings.Cut(owner, " ")
		series := fmt.Sprintf(`snat_owner_flows_opened_total{budget="lab",owner=%q,owner_kind=%q,protocol="tcp"}`, name, kind)
		if v := a.value(series); v != float64(n) {
			t.Errorf("%s opened %v flows by the metric, %d by its own count", owner, v, n)
		}
	}

	_, page := a.get(http.MethodGet, "/")
	_, api := a.get(http.MethodGet, "/api/v1/snapshot")
	for owner, n := range want {
		kind, name, _ := strings.Cut(owner, " ")
		if text := fmt.Sprintf("%s (%s) <b>%d</b>, %.0f %%", name, kind, n, float64(n)/10.24); !strings.Contains(page, text) {
			t.Errorf("the page does not say %q", text)
		}
		said := regexp.MustCompile(fmt.Sprintf(`"kind": ?%q,\s*"name": ?%q,\s*"held": ?%d,\s*"share": ?%v[,\s}]`, kind, name, n, float64(n)/1024))
		if !said.MatchString(api) {
			t.Errorf("the API does not say %s", said)
		}
	}
	if dir := os.Getenv("SCREENSHOTS"); dir != "" {
		chromium := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
			"--user-data-dir="+t.TempDir(), "--window-size=1200,1300", "--hide-scrollbars", "--virtual-time-budget=3000",
			"--screenshot="+filepath.Join(dir, "owners-of-the-incident.png"), a.url)
		if out, err := chromium.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	a.within(3*time.Minute, "the Node board shows all three", func() bool { return cmp.Equal(want, w.holdersPanel(t)) })

	// The page was delivered once the ceiling was passed; by then the process may not have had all of its ports.
	names := func(ports string) *regexp.Regexp {
		return regexp.MustCompile(fmt.Sprintf(`%s\D* 612\b.*%s\D* 300\b.*%s\D* %s\b`, label(checkout), label(fetcher), label(batch), ports))
	}
	a.within(3*time.Minute, "the page is delivered", func() bool { return len(w.pages.All()) > 0 })
	if text := w.pages.All()[0]; !names(`\d{2,3}`).MatchString(text) {
		t.Errorf("the page that was delivered does not name all three:\n%s", text)
	} else {
		t.Logf("delivered: %s", text)
	}
	var text string
	a.within(3*time.Minute, "the alert's text has the numbers of now", func() bool {
		text = w.text(t)
		return names("112").MatchString(text)
	})
	t.Logf("a page of now: %s", text)
}
