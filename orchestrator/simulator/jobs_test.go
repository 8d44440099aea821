package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

type shownJob struct {
	ID                                                       int64
	Key, State, CreationTime, BatchExecutionKey, ReleaseName string
	Reference, JobPriority, RuntimeType, Source              string
	SpecificPriorityValue                                    int
	InputArguments, OutputArguments, Info, ErrorCode         *string
	StartTime, EndTime                                       *string
	JobError                                                 *struct{ Code, Detail string }
}

func (x exchange) jobs(tb testing.TB) []shownJob {
	tb.Helper()
	var page struct{ Value []shownJob }
	x.decode(tb, &page)
	return page.Value
}

func jobPath(id int64) string { return fmt.Sprintf("/odata/Jobs(%d)", id) }

func TestStartJobs(t *testing.T) {
	t.Parallel()
	const batch = "7d382470-0000-4000-8000-000000000001"
	s, c := setup(t, Config{})
	got := c.post(http.StatusCreated, startPath, start(object{
		"JobsCount": 3, "Reference": "run-1", "BatchExecutionKey": batch, "JobPriority": "High", "RuntimeType": "Serverless",
	})).jobs(t)
	if len(got) != 3 {
		t.Fatalf("got %d jobs, want 3", len(got))
	}
	for i, j := range got {
		want := shownJob{
			ID: got[0].ID + int64(i), Key: j.Key, State: "Pending", CreationTime: got[0].CreationTime, BatchExecutionKey: batch,
			ReleaseName: "Post invoices", Reference: "run-1", JobPriority: "High", SpecificPriorityValue: 65,
			RuntimeType: "Serverless", Source: "Manual", InputArguments: new(`{"in_Date":"2026-11-22"}`),
		}
		if diff := cmp.Diff(want, j); diff != "" {
			t.Errorf("job %d (-want +got):\n%s", i, diff)
		}
		for _, path := range []string{
			jobPath(j.ID), "/odata/Jobs/UiPath.Server.Configuration.OData.GetByKey(identifier=" + j.Key + ")",
		} {
			var read shownJob
			if c.get(http.StatusOK, path).decode(t, &read); read.Key != j.Key || len(read.CreationTime) >= len(j.CreationTime) {
				t.Errorf("%s: got %+v", path, read)
			}
		}
	}
	if got := s.EffectCounts().Repeated; len(got) != 2 || got[0].Count != 3 || got[1].BatchExecutionKey != batch {
		t.Errorf("repeated: got %+v, want the reference and the batch key three times", got)
	}
	c.get(http.StatusNotFound, jobPath(got[2].ID+1))
	c.get(http.StatusNotFound, "/odata/Jobs/UiPath.Server.Configuration.OData.GetByKey(identifier="+batch+")")
}

func TestStartJobsCount(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		info object
		want int
	}{
		{object{"Strategy": "Specific", "RobotIds": []int{1, 2}, "JobsCount": 0}, 2},
		{object{"Strategy": "RobotCount", "NoOfRobots": 2, "JobsCount": 0}, 2},
		{object{"Strategy": "JobsCount", "JobsCount": 4}, 4},
		{object{"Strategy": "All", "JobsCount": 0}, 1},
	} {
		t.Run(fmt.Sprint(tt.info["Strategy"]), func(t *testing.T) {
			t.Parallel()
			_, c := setup(t, Config{})
			if got := len(c.post(http.StatusCreated, startPath, start(tt.info)).jobs(t)); got != tt.want {
				t.Errorf("got %d jobs, want %d", got, tt.want)
			}
		})
	}
}

func TestStartJobsByReleaseKey(t *testing.T) {
	t.Parallel()
	s, c := setup(t, Config{})
	if _, err := s.AddRelease(testFolder, "Defaults", Release{InputArguments: `{"a":1}`}); err != nil {
		t.Fatal(err)
	}
	key := c.list("Releases", "Name eq 'Defaults'", "Key")[0]
	if key != strings.ToUpper(key) {
		t.Errorf("release key: got %s, want capitals", key)
	}
	info := start(object{"ReleaseKey": strings.ToLower(key), "ReleaseName": "is not looked at", "InputArguments": ""})
	got := c.post(http.StatusCreated, startPath, info).jobs(t)[0]
	if got.ReleaseName != "Defaults" || *got.InputArguments != `{"a":1}` {
		t.Errorf("got release %s with input %s", got.ReleaseName, *got.InputArguments)
	}
}

func TestStartJobsRefused(t *testing.T) {
	t.Parallel()
	const batch = "7d382470-0000-4000-8000-000000000001"
	for _, tt := range []struct {
		name     string
		info     object
		switches Switches
		status   int
		code     int
	}{
		{"release unknown", object{"ReleaseName": "Nope"}, Switches{}, 404, 1002},
		{"release key unknown", object{"ReleaseKey": batch}, Switches{}, 404, 1002},
		{"release key malformed", object{"ReleaseKey": "x"}, Switches{}, 404, 1002},
		{"both priorities", object{"JobPriority": "Normal", "SpecificPriorityValue": 45}, Switches{}, 400, 1009},
		{"priority too high", object{"SpecificPriorityValue": 101}, Switches{}, 400, 1009},
		{"priority unknown", object{"JobPriority": "Urgent"}, Switches{}, 400, 0},
		{"strategy unknown", object{"Strategy": "Some"}, Switches{}, 400, 0},
		{"input file and arguments", object{"InputFile": batch}, Switches{}, 400, 1009},
		{"arguments too long", object{"InputArguments": `{"a":"` + strings.Repeat("x", 10_000) + `"}`}, Switches{}, 400, 1009},
		{"arguments no JSON", object{"InputArguments": "{'a':1}"}, Switches{}, 400, 1009},
		{"arguments no JSON, lenient", object{"InputArguments": "{'a':1}"}, Switches{LenientInputArguments: true}, 201, 0},
		{"arguments an object", object{"InputArguments": object{"a": 1}}, Switches{}, 400, 0},
		{"required argument missing", object{"ReleaseName": "Strict"}, Switches{}, 400, 1009},
		{"required argument there", object{"ReleaseName": "Strict", "InputArguments": `{"in_Id":1}`}, Switches{}, 201, 0},
		{"reference too long", object{"Reference": strings.Repeat("x", 129)}, Switches{}, 400, 1009},
		{"no jobs", object{"JobsCount": 0}, Switches{}, 400, 1009},
		{"too many jobs", object{"JobsCount": 10_001}, Switches{}, 400, 1009},
		{"batch key malformed", object{"BatchExecutionKey": "x"}, Switches{}, 400, 0},
		{"batch key repeated", object{"BatchExecutionKey": batch}, Switches{}, 201, 0},
		{"batch key repeated, refused", object{"BatchExecutionKey": batch}, Switches{RefuseRepeatedBatchKey: true}, 409, 0},
		{"pending jobs", object{}, Switches{}, 201, 0},
		{"pending jobs, refused", object{}, Switches{RefusePendingJobs: true}, 409, 1670},
		{"pending jobs, other status", object{}, Switches{RefusePendingJobs: true, PendingJobsStatus: 400}, 400, 1670},
		{"no robot", object{"ReleaseName": "Homeless"}, Switches{}, 409, 1671},
		{"unheeded member", object{"RunAsMe": true, "EntryPointPath": "Main.xaml"}, Switches{RefuseUnknownMembers: true}, 201, 0},
		{"unknown member", object{"Colour": "red"}, Switches{RefuseUnknownMembers: true}, 400, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s, c := setup(t, Config{Switches: tt.switches})
			for name, details := range map[string]Release{
				"Strict":   {Inputs: []Argument{{Name: "in_Id", Type: "System.Int32", Required: true}, {Name: "in_Note"}}},
				"Homeless": {Refuses: &NoUnattendedRobot},
			} {
				if _, err := s.AddRelease(testFolder, name, details); err != nil {
					t.Fatal(err)
				}
			}
			c.post(http.StatusCreated, startPath, start(object{"BatchExecutionKey": batch}))
			x := c.post(tt.status, startPath, start(tt.info))
			want := 2
			if tt.status != http.StatusCreated {
				want = 1
				if got := x.code(t); got != tt.code {
					t.Errorf("errorCode: got %d, want %d", got, tt.code)
				}
			}
			if got := len(s.Effects()); got != want {
				t.Errorf("effects: got %d, want %d", got, want)
			}
		})
	}
}

func TestStopJobs(t *testing.T) {
	t.Parallel()
	_, c := setup(t, Config{Switches: Switches{RefusePendingJobs: true}})
	id := c.post(http.StatusCreated, startPath, start(nil)).jobs(t)[0].ID
	c.post(http.StatusNotFound, stopPath, object{"jobIds": []int64{id, 1}, "strategy": "Kill"})
	c.post(http.StatusBadRequest, stopPath, object{"jobIds": []int64{id}, "strategy": "Nicely"})
	x := c.post(http.StatusOK, stopPath, object{"jobIds": []int64{id}, "strategy": "SoftStop"})
	if len(x.body) != 0 {
		t.Errorf("body: got %s, want none", x.body)
	}
	var got shownJob
	if c.get(http.StatusOK, jobPath(id)).decode(t, &got); got.State != "Stopped" || got.EndTime == nil || *got.Info != "Job canceled" {
		t.Errorf("got %+v", got)
	}
	c.post(http.StatusCreated, startPath, start(nil)) // nothing is pending any more
}

func TestRobots(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := setup(t, Config{Robots: Robots{Count: 2, JobTime: time.Hour, PickUp: time.Minute}})
		started := c.post(http.StatusCreated, startPath, start(object{"JobsCount": 3})).jobs(t)
		states := func() []string {
			synctest.Wait()
			return c.list("Jobs", "Id ge 0", "State")
		}
		steps := []struct {
			after time.Duration
			want  []string
		}{
			{0, []string{"Pending", "Pending", "Pending"}},
			{time.Minute, []string{"Running", "Running", "Pending"}},
			{time.Hour, []string{"Successful", "Successful", "Running"}},
			{time.Hour, []string{"Successful", "Successful", "Successful"}},
		}
		for _, step := range steps {
			time.Sleep(step.after)
			if diff := cmp.Diff(step.want, states()); diff != "" {
				t.Errorf("%v later (-want +got):\n%s", step.after, diff)
			}
		}
		var first, last shownJob
		c.get(http.StatusOK, jobPath(started[0].ID)).decode(t, &first)
		c.get(http.StatusOK, jobPath(started[2].ID)).decode(t, &last)
		if *first.OutputArguments != *first.InputArguments || *first.Info != "Job completed" || *first.EndTime != *last.StartTime {
			t.Errorf("got %+v, then %+v", first, last)
		}
		c.post(http.StatusCreated, startPath, start(object{"JobsCount": 3})) // Close leaves them behind
		time.Sleep(time.Minute)
		s.Reset()
		time.Sleep(3 * time.Hour)
		c.post(http.StatusCreated, startPath, start(nil))
		time.Sleep(2 * time.Hour)
		if got := states(); !slices.Equal(got, []string{"Successful"}) {
			t.Errorf("after Reset: got %v, want one Successful", got)
		}
	})
}

func TestRobotsFault(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		_, c := setup(t, Config{Robots: Robots{Count: 100, FaultShare: 0.25}})
		c.post(http.StatusCreated, startPath, start(object{"JobsCount": 100}))
		time.Sleep(time.Minute)
		faulted := c.get(http.StatusOK, "/odata/Jobs?$filter=State%20eq%20'Faulted'").jobs(t)
		if len(faulted) < 10 || len(faulted) > 40 {
			t.Errorf("got %d of 100 jobs Faulted, want about 25", len(faulted))
		}
		for _, j := range faulted {
			if j.JobError == nil || *j.ErrorCode != "Robot" || j.JobError.Detail != *j.Info {
				t.Errorf("got %+v", j)
			}
		}
	})
}
