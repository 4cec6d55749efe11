package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Screen is the terminal that a live table is shown on.
type Screen struct {
	In     io.Reader
	Out    io.Writer
	Colour bool
	// Every is how long between two looks.
	Every time.Duration
	Order Order
}

// Live shows the table until the user quits or ctx ends.
func (s Screen) Live(ctx context.Context, source Source) error {
	m := &model{ctx: ctx, source: source, every: s.Every}
	m.layout = layout{width: 80, colour: s.Colour, order: s.Order, marks: true}
	options := []tea.ProgramOption{tea.WithContext(ctx), tea.WithInput(s.In), tea.WithOutput(s.Out)}
	_, err := tea.NewProgram(m, options...).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// model is the state of the live table.
type model struct {
	layout
	ctx    context.Context
	source Source
	every  time.Duration
	height int

	table   *Table
	err     error // of the last look; the table before stays
	paused  bool
	filter  string
	typing  bool // keys go to the filter
	top     int  // the first row on the screen
	visible []Row
}

// looked is a look that is done, due the time for the next.
type (
	looked struct {
		table *Table
		err   error
	}
	due struct{}
)

func (m *model) lookNow() tea.Cmd {
	return func() tea.Msg {
		t, err := m.source(m.ctx)
		return looked{t, err}
	}
}

func (m *model) wait() tea.Cmd { return tea.Tick(m.every, func(time.Time) tea.Msg { return due{} }) }

// Init starts the first look.
func (m *model) Init() tea.Cmd { return m.lookNow() }

// Update takes a look, a key, or the size of the screen.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = max(40, msg.Width), msg.Height
	case looked:
		if m.err = msg.err; msg.err == nil && !m.paused {
			m.table = msg.table
		}
		m.arrange()
		return m, m.wait()
	case due:
		if m.paused {
			return m, m.wait()
		}
		return m, m.lookNow()
	case tea.KeyPressMsg:
		if m.typing {
			m.typed(msg)
			m.arrange()
			return m, nil
		}
		return m, m.key(msg.String())
	}
	return m, nil
}

// typed takes a key into the filter.
func (m *model) typed(k tea.KeyPressMsg) {
	switch k.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		if r := []rune(m.filter); len(r) > 0 {
			m.filter = string(r[:len(r)-1])
		}
	default:
		m.filter += k.Key().Text
	}
}

// key does what a key is for.
func (m *model) key(k string) tea.Cmd {
	switch k {
	case "q", "ctrl+c", "f10":
		return tea.Quit
	case "p", "space":
		m.paused = !m.paused
	case "s", "f6":
		m.order = (m.order + 1) % numOrders
	case "/", "f4":
		m.typing = true
	case "esc":
		m.filter, m.expanded = "", false
	case "enter", "o":
		m.expanded = !m.expanded
	case "up", "k":
		m.selected--
	case "down", "j":
		m.selected++
	case "pgup":
		m.selected -= m.height / 2
	case "pgdown":
		m.selected += m.height / 2
	case "home", "g":
		m.selected = 0
	case "end", "G":
		m.selected = len(m.visible)
	}
	m.arrange()
	return nil
}

// arrange filters and sorts, and keeps the selection in the table.
func (m *model) arrange() {
	m.visible = nil
	if m.table != nil {
		m.visible = append(m.visible, Filter(m.table.Rows, m.filter)...)
	}
	Sort(m.visible, m.order)
	m.selected = max(0, min(m.selected, len(m.visible)-1))
}

// View draws the screen: no line is wider, and there are no more of them than it has.
func (m *model) View() tea.View {
	v := tea.NewView(m.draw())
	v.AltScreen = true
	return v
}

func (m *model) draw() string {
	height := m.height
	if height == 0 {
		height = 24
	}
	var lines []string
	switch {
	case m.table == nil && m.err != nil:
		lines = []string{m.paint(red, cut("! "+m.err.Error(), m.width))}
	case m.table == nil:
		lines = []string{"waiting for the first answer"}
	default:
		lines = m.head(m.table, m.visible)
		if m.err != nil {
			lines = append([]string{m.paint(red, cut("! no answer: this is what it said last: "+m.err.Error(),
				m.width))}, lines...)
		}
	}
	room := max(1, height-len(lines)-1)
	lines = append(lines, m.body(room)...)
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	return strings.Join(append(lines[:height-1], m.foot()), "\n")
}

// body are the rows that fit, with the selected one among them.
func (m *model) body(room int) []string {
	detail := 0
	if m.expanded && len(m.visible) > 0 {
		detail = min(len(m.detail(&m.visible[m.selected])), room-1)
	}
	m.top = min(m.top, m.selected)
	m.top = max(m.top, m.selected+detail-room+1)
	var out []string
	for i := m.top; i < len(m.visible) && len(out) < room; i++ {
		out = append(out, m.row(&m.visible[i], i))
		if m.expanded && i == m.selected {
			out = append(out, m.detail(&m.visible[i])[:detail]...)
		}
	}
	if len(m.visible) == 0 && m.table != nil {
		out = append(out, "no port space"+map[bool]string{
			true:  fmt.Sprintf(" matches %q", m.filter),
			false: " is known",
		}[m.filter != ""])
	}
	return out
}

// foot are what keys have set and the keys; on a narrow screen keys are cut off first.
func (m *model) foot() string {
	if m.typing {
		return cut("filter: "+m.filter+"_   enter keeps it, esc drops it", m.width)
	}
	state := fmt.Sprintf("sort %v", m.order)
	if m.paused {
		state = "PAUSED, " + state
	}
	if m.filter != "" {
		state += ", filter " + m.filter
	}
	return cut(fmt.Sprintf("(%s)  q quit  s sort  / filter  space pause  enter owners", state), m.width)
}
