# Completion of pidleash for fish: options and their values, signals, files, users, and behind PROGRAM whatever its own
# completion offers.

# The place of PROGRAM among the words in front of the cursor, or where it would come next.
function __pidleash_place
    set -l tokens (commandline -opc)
    set -l i 2
    while test $i -le (count $tokens)
        if test $tokens[$i] = --
            set i (math $i + 1)
            break
        else if string match -qr -- '^-.*=' $tokens[$i]
            set i (math $i + 1)
        else if string match -qr -- '^-.' $tokens[$i]
            set -l name (string replace -r -- '^--?' '' $tokens[$i])
            contains -- $name $__pidleash_valued; and set i (math $i + 1)
            set i (math $i + 1)
        else
            break
        end
    end
    echo $i
end

# One of these commands is what the line is about.
function __pidleash_in
    set -l tokens (commandline -opc)
    test (count $tokens) -ge 2; and contains -- $tokens[2] $argv
end

# A command may come here.
function __pidleash_first
    test (count (commandline -opc)) -eq 1
end

# Options of a start may come here.
function __pidleash_starts
    set -l tokens (commandline -opc)
    __pidleash_in $__pidleash_commands; and return 1
    test (__pidleash_place) -gt (count $tokens); and not contains -- -- $tokens
end

# A topic of -h may come here.
function __pidleash_helps
    string match -qr -- '^--?(h|help)$' (commandline -opc)[-1]
end

# PROGRAM, or one of its words, may come here.
function __pidleash_runs
    __pidleash_in $__pidleash_commands; or __pidleash_helps; and return 1
    not __pidleash_starts; or not string match -q -- '-*' (commandline -ct)
end

function __pidleash_run
    set -l tokens (commandline -opc)
    set -l place (__pidleash_place)
    set -l words
    test $place -le (count $tokens); and set words (string escape -- $tokens[$place..])
    complete -C (string join ' ' -- $words (commandline -ct))
end

function __pidleash_signal
    string join \n -- $__pidleash_signals
end

function __pidleash_signal_or_none
    string join \n -- $__pidleash_signals none
end

# Behind what is there up to the last comma or slash.
function __pidleash_list
    set -l before (string match -r -- "^(?:.*$argv[1])?" (commandline -ct | string replace -r -- '^--?[a-z-]+=' ''))
    string join \n -- $before$__pidleash_signals
end

function __pidleash_signals
    __pidleash_list ,
    echo none
end

function __pidleash_schedule
    __pidleash_list /
end

function __pidleash_rewrite
    set -l before (commandline -ct | string match -r -- '^[^:]*:')
    if test -n "$before"
        string join \n -- $before$__pidleash_signals $before''none
    else
        string join \n -- $__pidleash_signals:
    end
end

function __pidleash_user
    set -l before (commandline -ct | string match -r -- '^[^:]*:')
    if test -n "$before"
        string join \n -- $before(__fish_complete_groups)
    else
        __fish_complete_users
    end
end

function __pidleash_dir
    __fish_complete_directories (commandline -ct)
end

function __pidleash_command
    complete -C (commandline -ct)
end

# made from the table of options: words (go test ./internal/cli -run TestGenerated -update)
set -g __pidleash_signals HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS RTMIN RTMIN+1 RTMIN+2 RTMIN+3 RTMIN+4 RTMIN+5 RTMIN+6 RTMIN+7 RTMIN+8 RTMIN+9 RTMIN+10 RTMIN+11 RTMIN+12 RTMIN+13 RTMIN+14 RTMIN+15 RTMAX-14 RTMAX-13 RTMAX-12 RTMAX-11 RTMAX-10 RTMAX-9 RTMAX-8 RTMAX-7 RTMAX-6 RTMAX-5 RTMAX-4 RTMAX-3 RTMAX-2 RTMAX-1 RTMAX
set -g __pidleash_valued pidfile supervisor-pidfile settle stop stop-command pdeathsig kill-mode rewrite drain ignore restart restart-delay restart-limit restart-signal while while-running follow ready ready-file start-timeout stdout stderr chdir umask user nice oom-score-adj success removed-exit already-running-exit log-level log-format until timeout
complete -c pidleash -n __pidleash_first -f -a status -d 'tell whether the programs of PID files run'
complete -c pidleash -n __pidleash_first -f -a stop -d 'stop the programs of PID files, and wait for their end'
complete -c pidleash -n __pidleash_first -f -a signal -d 'send a signal to the programs of PID files'
complete -c pidleash -n __pidleash_first -f -a wait -d 'wait for the end of the programs of PID files, or until they run'
complete -c pidleash -n __pidleash_first -f -a list -d 'audit the PID files of a machine (default /run)'
complete -c pidleash -n __pidleash_first -f -a help -d 'tell about pidleash or a command'
complete -c pidleash -n '__pidleash_in help; or __pidleash_helps' -f -a 'all status stop signal wait list'
set -g __pidleash_commands status stop signal wait list help
complete -c pidleash -n __pidleash_starts -o pidfile -l pidfile -r -F -d 'where PROGRAM\'s PID goes (default $PIDFILE)'
complete -c pidleash -n __pidleash_starts -o supervisor-pidfile -l supervisor-pidfile -r -F -d 'where the PID of pidleash itself goes'
complete -c pidleash -n __pidleash_starts -o settle -l settle -x -d 'how long a removal must last before it counts'
complete -c pidleash -n __pidleash_starts -o stop -l stop -x -a '(__pidleash_schedule)' -d 'what PROGRAM is sent when the file is removed'
complete -c pidleash -n __pidleash_starts -o stop-command -l stop-command -x -a '(__pidleash_command)' -d 'a shell command that is run first to stop PROGRAM'
complete -c pidleash -n __pidleash_starts -o pdeathsig -l pdeathsig -x -a '(__pidleash_signal_or_none)' -d 'what PROGRAM is sent when pidleash is killed'
complete -c pidleash -n __pidleash_starts -o same-group -l same-group -f -d 'leave PROGRAM in pidleash\'s process group'
complete -c pidleash -n __pidleash_starts -o wait-all -l wait-all -f -d 'end only when all descendants of PROGRAM have ended'
complete -c pidleash -n __pidleash_starts -o kill-mode -l kill-mode -x -a 'process mixed group tree' -d 'what signals reach: process, mixed, group or tree'
complete -c pidleash -n __pidleash_starts -o rewrite -l rewrite -x -a '(__pidleash_rewrite)' -d 'send another signal instead of one, or none'
complete -c pidleash -n __pidleash_starts -o drain -l drain -x -d 'how long a TERM is kept before it is forwarded'
complete -c pidleash -n __pidleash_starts -o ignore -l ignore -x -a '(__pidleash_signals)' -d 'signals that PROGRAM starts with ignored'
complete -c pidleash -n __pidleash_starts -o restart -l restart -x -a 'no on-failure always' -d 'start PROGRAM again: no, on-failure or always'
complete -c pidleash -n __pidleash_starts -o restart-delay -l restart-delay -x -d 'how long to wait before a restart'
complete -c pidleash -n __pidleash_starts -o restart-limit -l restart-limit -x -d 'how many restarts are allowed within what time'
complete -c pidleash -n __pidleash_starts -o restart-signal -l restart-signal -x -a '(__pidleash_signal)' -d 'a signal that restarts PROGRAM'
complete -c pidleash -n __pidleash_starts -o while -l while -r -F -d 'run PROGRAM only while FILE exists'
complete -c pidleash -n __pidleash_starts -o while-running -l while-running -r -F -d 'run PROGRAM only while the program of FILE runs'
complete -c pidleash -n __pidleash_starts -o daemon -l daemon -f -d 'go to the background when PROGRAM is up'
complete -c pidleash -n __pidleash_starts -o sidecar -l sidecar -f -d 'PROGRAM keeps this PID; a watchdog runs beside it'
complete -c pidleash -n __pidleash_starts -o forking -l forking -f -d 'PROGRAM turns itself into a daemon: follow it'
complete -c pidleash -n __pidleash_starts -o follow -l follow -r -F -d 'the PID file that such a daemon writes itself'
complete -c pidleash -n __pidleash_starts -o ready -l ready -x -a 'exec notify fd: log log: tcp: cmd:' -d 'when PROGRAM is up: exec, 2s, notify, log, tcp:80'
complete -c pidleash -n __pidleash_starts -o ready-file -l ready-file -r -F -d 'a log that PROGRAM writes itself, for -ready log'
complete -c pidleash -n __pidleash_starts -o start-timeout -l start-timeout -x -d 'how long PROGRAM may take to be up'
complete -c pidleash -n __pidleash_starts -o stdout -l stdout -r -F -d 'append standard output to FILE'
complete -c pidleash -n __pidleash_starts -o stderr -l stderr -r -F -d 'append standard error to FILE'
complete -c pidleash -n __pidleash_starts -o chdir -l chdir -x -a '(__pidleash_dir)' -d 'the working directory'
complete -c pidleash -n __pidleash_starts -o umask -l umask -x -d 'the umask, such as 027'
complete -c pidleash -n __pidleash_starts -o user -l user -x -a '(__pidleash_user)' -d 'the user that PROGRAM runs as'
complete -c pidleash -n __pidleash_starts -o nice -l nice -x -d 'the priority, from -20 to 19'
complete -c pidleash -n __pidleash_starts -o oom-score-adj -l oom-score-adj -x -d 'OOM score from -1000 to 1000; 1000 is killed first'
complete -c pidleash -n __pidleash_starts -o success -l success -x -d 'exit codes that become 0, such as 3,140-150'
complete -c pidleash -n __pidleash_starts -o removed-exit -l removed-exit -x -d 'the exit code after the file was removed'
complete -c pidleash -n __pidleash_starts -o already-running-exit -l already-running-exit -x -d 'the exit code when PROGRAM is already running'
complete -c pidleash -n __pidleash_starts -o log-level -l log-level -x -a 'trace debug info warn error off' -d 'how much pidleash says'
complete -c pidleash -n __pidleash_starts -o log-format -l log-format -x -a 'text json' -d 'the format of its messages'
complete -c pidleash -n __pidleash_starts -o h -l h -f -d 'the options that matter most'
complete -c pidleash -n __pidleash_starts -o version -l version -f -d 'the version, the commit and Go\'s version'
complete -c pidleash -n '__pidleash_in status stop signal wait list' -o json -l json -f -d 'print a line of JSON for each FILE'
complete -c pidleash -n '__pidleash_in status stop signal wait list' -o log-format -l log-format -x -a 'text json' -d 'the format of its messages'
complete -c pidleash -n '__pidleash_in status stop signal wait list' -o log-level -l log-level -x -a 'trace debug info warn error off' -d 'how much pidleash says'
complete -c pidleash -n '__pidleash_in status stop signal wait' -o pidfile -l pidfile -r -F -d 'where PROGRAM\'s PID goes (default $PIDFILE)'
complete -c pidleash -n '__pidleash_in stop' -o stop -l stop -x -a '(__pidleash_schedule)' -d 'what PROGRAM is sent when the file is removed'
complete -c pidleash -n '__pidleash_in stop wait' -o timeout -l timeout -x -d 'how long to wait'
complete -c pidleash -n '__pidleash_in wait' -o until -l until -x -a 'gone running' -d 'what to wait for'
complete -c pidleash -n '__pidleash_in status stop signal wait list' -o h -l h -f -d 'the options that matter most'
# end of words

complete -c pidleash -n '__pidleash_in signal; and test (count (commandline -opc)) -eq 2' -f -a '(__pidleash_signal)'
complete -c pidleash -n __pidleash_runs -x -a '(__pidleash_run)'
