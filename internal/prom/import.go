package prom

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Import writes samples, as text of OpenMetrics with times, into the data of the Prometheus that will run in dir.
// promtool is the path of that program.
func Import(ctx context.Context, promtool, dir, samples string) error {
	text := filepath.Join(dir, "samples")
	if err := os.WriteFile(text, []byte(samples), 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, promtool, "tsdb", "create-blocks-from", "openmetrics", text,
		filepath.Join(dir, "data")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("promtool tsdb create-blocks-from: %w: %s", err, out)
	}
	return nil
}
