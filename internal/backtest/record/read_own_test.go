package record

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A directory stands for the files that snatwatch record wrote there; lines that begin with # are no rows.
func TestReadDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const head = "# snatwatch record 1\n# limits: a=1;b=2;c=3;d=4\nstart_s,end_s,destination,port,source,protocol,reason,vip\n"
	for name, text := range map[string]string{
		"flows-1.csv.gz":     zipped(head) + zipped("1600000000.5,1600000002.5,203.0.113.7,443,10.0.0.5,tcp,fin,198.51.100.1\n"),
		"flows-2.csv.gz":     zipped(head + "# overrun: 1\n1600000001.0,1600000004.0,2001:db8::7,53,10.0.0.5,udp,live,\n"),
		"flows-3.csv.gz.new": "half",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r := Reader{Now: now}
	records, err := r.ReadFiles([]string{dir})
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 1 || records[0].Bad > 0 || len(records[0].Flows) != 2 {
		t.Fatalf("%+v", records)
	}
	if got := records[0].Destinations; got[0] != "203.0.113.7:443" || got[1] != "[2001:db8::7]:53" {
		t.Errorf("destinations %q", got)
	}
	if _, err := r.ReadFiles([]string{t.TempDir()}); !errors.Is(err, ErrEmpty) {
		t.Errorf("an empty directory: %v", err)
	}
}
