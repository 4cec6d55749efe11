package flowlog

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files puts the files that snatwatch record wrote in the place of a directory, in their order of time. Those to which
// it has not given a name yet are none.
func Files(paths []string) ([]string, error) {
	var files []string
	for _, p := range paths {
		if info, err := os.Stat(p); err != nil || !info.IsDir() { // opening it tells the error
			files = append(files, p)
			continue
		}
		entries, err := os.ReadDir(p) // in order of names, which are times
		if err != nil {
			return nil, err
		}
		before := len(files)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".csv.gz") {
				files = append(files, filepath.Join(p, e.Name()))
			}
		}
		if len(files) == before {
			return nil, fmt.Errorf("%s has no file *.csv.gz", p)
		}
	}
	return files, nil
}
