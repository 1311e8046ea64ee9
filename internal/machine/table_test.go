package machine

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pidleash/internal/plan"
)

// The whole state machine. The first row that fits decides; "*" is anything, "a/b" either. A
// state's situations are reached by events only, and every event is tried in each.
//
//	state     Waiting: half an hour before the program is started again; Waiting:first: for a
//	          condition, before the first start
//	event     TERM and USR1 are signals; ":own" of a file that the program has written; ":?" of
//	          a status that is not known
//	file      none: no PID file; watched; resting: a TERM was forwarded half a second ago;
//	          gone: given up
//	mode      the kill mode
//	command   whether there is a stop command
//	restart   -restart
//	time      of a doubt about the file, of the command, of the schedule's KILL, or of what the
//	          state alone waits for: none, ahead, due; old: due since long ago (a doubt: for a
//	          second)
//	settle    -settle
//
// After the bar: the actions in order, the next state ("=": the same), and what else can be
// seen: waits: another deadline; cleared: none any more; removed, up, failed: so is the result
// from now on. ~ is the target of the kill mode, and STOP is Kill:TERM~,Kill:CONT~.
const machineTable = `
state                    event                       file            mode           command  restart  time      settle | actions                                  next         learned

Idle                     Began                       *               *              *        *        *         *      | Launch                                   Launching    -
Idle                     *                           *               *              *        *        *         *      | -                                        =            -

Launching                Launched                    none            *              *        *        *         *      | -                                        Running      -
Launching                Launched                    *               *              *        *        *         *      | Watch                                    Running      -
Launching                LaunchFailed                none            *              *        *        *         *      | End                                      Over         failed
Launching                LaunchFailed                *               *              *        *        *         *      | Remove,End                               Over         failed
Launching                Vanished                    none            *              *        *        *         *      | Report:FileRemoved,End                   Over         removed
Launching                Vanished                    *               *              *        *        *         *      | Report:FileRemoved,Remove,End            Over         removed
Launching                *                           *               *              *        *        *         *      | -                                        =            -

Detaching                Unready                     *               *              *        *        *         *      | Survey                                   Sweeping     failed
Detaching                CallerGone                  *               *              *        *        *         *      | Report:BrokenOff,Survey                  Sweeping     -
Detaching                TERM                        *               *              *        *        *         *      | Kill:TERM~                               =            -
Detaching                USR1                        *               *              *        *        *         *      | Kill:USR1~                               =            -
Detaching                Found                       none            *              *        *        *         *      | -                                        Running      -
Detaching                Found                       *               *              *        *        *         *      | Watch                                    Running      -
Detaching                Ended/Ended:?               *               *              *        *        *         *      | Seek                                     Finding      -
Detaching                Ended:1                     *               *              *        *        *         *      | Survey                                   Sweeping     -
Detaching                *                           *               *              *        *        *         *      | -                                        =            -

Finding                  Found                       none            *              *        *        *         *      | -                                        Running      -
Finding                  Found                       *               *              *        *        *         *      | Watch                                    Running      -
Finding                  Unready                     *               *              *        *        *         *      | Survey                                   Sweeping     failed
Finding                  CallerGone                  *               *              *        *        *         *      | Report:BrokenOff,Survey                  Sweeping     -
Finding                  TERM                        *               *              *        *        *         *      | Survey                                   Sweeping     -
Finding                  Ticked                      *               *              *        *        due       *      | Seek                                     =            waits
Finding                  *                           *               *              *        *        *         *      | -                                        =            -

Succeeding               Succeeded                   *               *              *        *        *         *      | Look                                     Running      -
Succeeding               Present/Rewritten/Replaced  *               *              *        *        ahead     *      | SeekSuccessor                            =            -
Succeeding               Present/Rewritten/Replaced  *               *              *        *        *         *      | SeekSuccessor                            =            waits
Succeeding               NoSuccessor                 *               tree           *        *        *         *      | Unwatch,Survey                           Sweeping     -
Succeeding               NoSuccessor                 *               *              *        *        *         *      | Unwatch,Remove,End                       Over         -
Succeeding               Ticked                      *               *              *        *        due       *      | SeekSuccessor                            =            waits
Succeeding               Ticked                      *               tree           *        *        old       *      | Unwatch,Survey                           Sweeping     -
Succeeding               Ticked                      *               *              *        *        old       *      | Unwatch,Remove,End                       Over         -
Succeeding               *                           *               *              *        *        *         *      | -                                        =            -

Lingering                Ticked                      *               *              *        *        due       *      | Unwatch,Remove,End                       Over         -
Lingering                Removed/Removed:own/Replaced *              *              *        *        *         *      | Unwatch,Remove,End                       Over         -
Lingering                *                           *               *              *        *        *         *      | -                                        =            -

Closing                  Explained/Explained:?       *               *              *        *        *         *      | End                                      Over         -
Closing                  Ended/Ended:1               *               *              *        *        *         *      | End                                      Over         -
Closing                  Ticked                      *               *              *        *        due       *      | End                                      Over         -
Closing                  *                           *               *              *        *        *         *      | -                                        =            -

Over                     *                           *               *              *        *        *         *      | -                                        =            -

Waiting/Waiting:first    LaunchFailed                none            *              *        *        *         *      | End                                      Over         failed
Waiting/Waiting:first    LaunchFailed                *               *              *        *        *         *      | Unwatch,Remove,End                       Over         failed
Waiting/Waiting:first    Unready                     none            *              *        *        *         *      | End                                      Over         failed
Waiting/Waiting:first    Unready                     *               *              *        *        *         *      | Unwatch,Remove,End                       Over         failed
Waiting/Waiting:first    CallerGone                  none            *              *        *        *         *      | Report:BrokenOff,End                     Over         -
Waiting/Waiting:first    CallerGone                  *               *              *        *        *         *      | Report:BrokenOff,Unwatch,Remove,End      Over         -
Waiting/Waiting:first    TERM                        none            *              *        *        *         *      | End                                      Over         -
Waiting/Waiting:first    TERM                        *               *              *        *        *         *      | Unwatch,Remove,End                       Over         -
Waiting/Waiting:first    USR1                        *               *              *        *        *         *      | -                                        =            -
Waiting                  Asked                       *               *              *        *        none      *      | Launch                                   Launching    -
Waiting                  Asked                       *               *              *        *        *         *      | -                                        =            -
Waiting:first            Asked                       *               *              *        *        *         *      | -                                        =            -
Waiting                  ConditionsHold              *               *              *        *        *         *      | -                                        =            -
Waiting:first            ConditionsHold              *               *              *        *        none      *      | Launch                                   Launching    -
Waiting:first            ConditionsHold              *               *              *        *        *         *      | -                                        =            -
Waiting:first            ConditionsFail              *               *              *        *        *         *      | -                                        =            -
Waiting                  ConditionsFail              none            *              *        *        *         0      | Report:ConditionFailed,End               Over         removed
Waiting                  ConditionsFail              *               *              *        *        *         0      | Report:ConditionFailed,Unwatch,Remove,End Over        removed

Rising                   Ready                       *               *              *        *        none      *      | ReportReady                                Running      -
Rising                   Ready                       *               *              *        *        *         *      | ReportReady                                Running      -
Rising                   Probed                      *               *              *        *        *         *      | ReportReady                              Running      -
Rising                   Unready                     watched         *              *        no       *         *      | Unwatch,STOP                             Stopping     failed
Rising                   Unready                     none/watched    *              *        *        *         *      | STOP                                     Stopping     failed
Rising                   Unready                     resting         *              *        *        *         *      | -                                        Stopping     failed
Rising                   CallerGone                  none            *              *        *        *         *      | Report:BrokenOff,STOP                    Stopping     -
Rising                   CallerGone                  watched         *              *        *        *         *      | Report:BrokenOff,Unwatch,STOP            Stopping     -
Rising                   CallerGone                  resting         *              *        *        *         *      | Report:BrokenOff                         Stopping     -
Answering                CallerGone                  none            *              *        *        *         *      | Report:BrokenOff,STOP                    Stopping     -
Answering                CallerGone                  watched         *              *        *        *         *      | Report:BrokenOff,Unwatch,STOP            Stopping     -
Answering                CallerGone                  resting         *              *        *        *         *      | Report:BrokenOff                         Stopping     -
Answering                Answered                    none            *              *        no       *         *      | End                                      Over         up
Answering                Answered                    *               *              *        *        *         *      | -                                        Running      up
Answering                Refused                     *               *              *        *        *         *      | -                                        Rising       -
Answering                LaunchFailed                none            *              *        *        *         *      | End                                      Over         failed
Answering                LaunchFailed                watched         *              *        *        *         *      | Unwatch,Remove,End                       Over         failed
Answering                LaunchFailed                resting         *              *        *        *         *      | Remove,End                               Over         failed
Answering                Ended/Ended:1/Ended:?       *               *              *        *        *         *      | -                                        Parting      -
Answering                Asked/Died                  *               *              *        *        *         *      | -                                        =            -

Parting                  Answered                    none/watched    process/mixed/group  *  always   *         *      | Placeholder,Report:Restarting:1h0m0s     Waiting      up
Parting                  Answered                    none            process/mixed/group  *  *        *         *      | End                                      Over         up
Parting                  Answered                    watched         process/mixed/group  *  *        *         *      | Unwatch,Linger,Watch                     Lingering    up
Parting                  Answered                    resting         process/mixed/group  *  *        *         *      | Linger,Watch                             Lingering    up
Parting                  Answered                    watched         tree           *        no       *         *      | Unwatch,Survey                           Sweeping     up
Parting                  Answered                    watched         tree           *        always   *         *      | Survey,Placeholder                       Sweeping     up
Parting                  Answered                    *               tree           *        *        *         *      | Survey                                   Sweeping     up
Parting                  Refused                     none            process/group  *        *        *         *      | End                                      Over         -
Parting                  Refused                     watched         process/group  *        *        *         *      | Unwatch,Remove,End                       Over         -
Parting                  Refused                     resting         process/group  *        *        *         *      | Remove,End                               Over         -
Parting                  Refused                     watched         *              *        *        *         *      | Unwatch,Survey                           Sweeping     -
Parting                  Refused                     *               *              *        *        *         *      | Survey                                   Sweeping     -
Parting                  ConditionsFail              none            *              *        *        *         0      | Report:ConditionFailed                   =            removed
Parting                  ConditionsFail              watched         *              *        *        none      0      | Report:ConditionFailed,Unwatch           =            removed
Parting                  ConditionsFail              watched         *              *        *        *         0      | Report:ConditionFailed,Unwatch           =            cleared,removed
Parting                  ConditionsFail              resting         *              *        *        *         0      | Report:ConditionFailed                   =            cleared,removed
Parting                  TERM/USR1                   *               *              *        *        *         *      | -                                        =            -
Parting                  Ended/Ended:1/Ended:?       *               *              *        *        *         *      | -                                        =            -
Parting                  Halted                      *               *              *        *        *         *      | -                                        =            -

Rising/Running           Ended/Ended:1/Ended:?       none/watched    process/mixed/group  *  always   *         *      | Placeholder,Report:Restarting:1h0m0s     Waiting      -
Rising/Running           Ended/Ended:1               none            process/mixed/group  *  *        *         *      | End                                      Over         -
Rising/Running           Ended/Ended:1               watched         process/mixed/group  *  *        *         *      | Unwatch,Remove,End                       Over         -
Rising/Running           Ended/Ended:1               resting         process/mixed/group  *  *        *         *      | Remove,End                               Over         -
Rising/Running           Ended:?                     none            process/mixed/group  *  *        *         *      | -                                        Closing      -
Rising/Running           Ended:?                     watched         process/mixed/group  *  *        *         *      | Unwatch,Remove                           Closing      -
Rising/Running           Ended:?                     resting         process/mixed/group  *  *        *         *      | Remove                                   Closing      -
Rising/Running           Ended/Ended:1/Ended:?       watched         *              *        no       *         *      | Unwatch,Survey                           Sweeping     -
Rising/Running           Ended/Ended:1/Ended:?       *               *              *        *        *         *      | Survey                                   Sweeping     -
Rising/Running           Died                        watched         *              *        always   *         *      | Placeholder                              =            -
Rising/Running           Died                        *               *              *        *        *         *      | -                                        =            -
Rising/Running           Asked                       resting         *              *        *        *         *      | -                                        =            -
Rising/Running           Asked                       *               *              no       *        *         *      | STOP                                     Stopping     -
Rising/Running           Asked                       *               *              *        *        *         *      | RunCommand                               Commanding   -

Rising/Answering/Running TERM                        watched         *              *        *        none      *      | Kill:TERM~,Unwatch                       =            waits
Rising/Answering/Running TERM                        watched         *              *        *        *         *      | Kill:TERM~,Unwatch                       =            -
Rising/Answering/Running TERM                        *               *              *        *        *         *      | Kill:TERM~                               =            -
Rising/Answering/Running USR1                        *               *              *        *        *         *      | Kill:USR1~                               =            -
Rising/Answering/Running Halted                      *               *              *        *        *         *      | Suspend:TSTP                             =            -
Rising/Answering/Running ConditionsFail              none            *              no       *        *         0      | STOP,Report:ConditionFailed              Stopping     removed
Rising/Answering/Running ConditionsFail              watched         *              no       *        *         0      | STOP,Report:ConditionFailed,Unwatch      Stopping     removed
Rising/Answering/Running ConditionsFail              resting         *              no       *        *         0      | Report:ConditionFailed                   Stopping     removed
Rising/Answering/Running ConditionsFail              watched         *              *        *        *         0      | RunCommand,Report:ConditionFailed,Unwatch Commanding  removed
Rising/Answering/Running ConditionsFail              *               *              *        *        *         0      | RunCommand,Report:ConditionFailed        Commanding   removed

Draining                 TERM                        watched         *              *        *        *         *      | Kill:TERM~,Unwatch                       Running      -
Draining                 TERM                        *               *              *        *        *         *      | Kill:TERM~                               Running      -
Draining                 USR1                        *               *              *        *        *         *      | Kill:USR1~                               =            -
Draining                 Halted                      *               *              *        *        *         *      | Suspend:TSTP                             =            -
Draining                 Asked/Died                  *               *              *        *        *         *      | -                                        =            -
Draining                 Ended/Ended:1               none            process/mixed/group *        *        *         *      | End                                      Over         -
Draining                 Ended/Ended:1               watched         process/mixed/group *        *        *         *      | Unwatch,Remove,End                       Over         -
Draining                 Ended:?                     none            process/mixed/group *        *        *         *      | -                                        Closing      -
Draining                 Ended:?                     watched         process/mixed/group *        *        *         *      | Unwatch,Remove                           Closing      -
Draining                 Ended/Ended:1/Ended:?       watched         *              *        *        *         *      | Unwatch,Survey                           Sweeping     -
Draining                 Ended/Ended:1/Ended:?       *               *              *        *        *         *      | Survey                                   Sweeping     -
Draining                 ConditionsFail              none            *              no       *        *         0      | STOP,Report:ConditionFailed              Stopping     removed
Draining                 ConditionsFail              watched         *              no       *        *         0      | STOP,Report:ConditionFailed,Unwatch      Stopping     removed
Draining                 ConditionsFail              watched         *              *        *        *         0      | RunCommand,Report:ConditionFailed,Unwatch Commanding   removed
Draining                 ConditionsFail              *               *              *        *        *         0      | RunCommand,Report:ConditionFailed        Commanding   removed

Remaining                TERM                        watched         *              *        *        none      *      | Kill:TERM:tree,Unwatch                   =            waits
Remaining                TERM                        watched         *              *        *        *         *      | Kill:TERM:tree,Unwatch                   =            -
Remaining                TERM                        *               *              *        *        *         *      | Kill:TERM:tree                           =            -
Remaining                USR1                        *               *              *        *        *         *      | Kill:USR1:tree                           =            -
Remaining                NoneLeft                    none/watched    *              *        always   *         *      | Placeholder,Report:Restarting:1h0m0s     Waiting      -
Remaining                NoneLeft                    none            *              *        *        *         *      | End                                      Over         -
Remaining                NoneLeft                    watched         *              *        *        *         *      | Unwatch,Remove,End                       Over         -
Remaining                NoneLeft                    resting         *              *        *        *         *      | Remove,End                               Over         -
Remaining                Asked                       resting         *              *        *        *         *      | -                                        =            -
Remaining                Asked                       *               *              *        *        *         *      | Survey                                   Sweeping     -
Remaining                ConditionsFail              none            *              *        *        *         0      | Survey,Report:ConditionFailed            Sweeping     removed
Remaining                ConditionsFail              watched         *              *        *        *         0      | Survey,Report:ConditionFailed,Unwatch    Sweeping     removed
Remaining                ConditionsFail              resting         *              *        *        *         0      | Survey,Report:ConditionFailed            Sweeping     removed

ALIVE                    ConditionsFail              *               *              *        *        none      100ms  | -                                        =            waits
ALIVE                    ConditionsFail              *               *              *        *        *         100ms  | -                                        =            -
ALIVE                    Ticked                      *               *              *        *        due/old   *      | Look                                     =            -
ALIVE                    LOOKS                       none            *              *        *        *         *      | -                                        =            -
ALIVE                    Present                     *               *              *        *        none      *      | -                                        =            -
ALIVE                    Rewritten                   *               *              *        *        none      *      | Adopt                                    =            -
ALIVE                    Unknown                     *               *              *        *        none      *      | Report:FileUnknown                       =            -
ALIVE                    Moving                      *               *              *        *        *         *      | -                                        =            waits
Waiting/Draining/Remaining Present                   *               *              *        *        *         *      | -                                        =            waits
Waiting/Draining/Remaining Rewritten                 *               *              *        *        *         *      | Adopt                                    =            waits
Waiting/Draining/Remaining Unknown                   *               *              *        *        *         *      | Report:FileUnknown                       =            waits
ALIVE                    Present                     resting         *              *        *        *         *      | -                                        =            waits
ALIVE                    Rewritten                   resting         *              *        *        *         *      | Adopt                                    =            waits
ALIVE                    Unknown                     resting         *              *        *        *         *      | Report:FileUnknown                       =            waits
ALIVE                    Present                     *               *              *        *        *         *      | -                                        =            cleared
ALIVE                    Rewritten                   *               *              *        *        *         *      | Adopt                                    =            cleared
ALIVE                    Unknown                     *               *              *        *        *         *      | Report:FileUnknown                       =            cleared
ALIVE                    Removed:own                 resting         *              *        *        none      *      | -                                        =            -
ALIVE                    Removed:own                 resting         *              *        *        *         *      | -                                        =            waits
ALIVE                    DOUBTS                      *               *              *        *        ahead     *      | -                                        =            -
ALIVE                    DOUBTS                      *               *              *        *        none      100ms  | -                                        =            waits
ALIVE                    Unfinished                  *               *              *        *        none/due  *      | -                                        =            waits
ALIVE                    Changed                     *               *              *        *        none      *      | Report:FileChanged                       =            -
Waiting/Draining/Remaining Changed                   *               *              *        *        *         *      | Report:FileChanged                       =            waits
ALIVE                    Changed                     resting         *              *        *        *         *      | Report:FileChanged                       =            waits
ALIVE                    Changed                     *               *              *        *        *         *      | Report:FileChanged                       =            cleared
Waiting/Waiting:first    LOST                        *               *              *        *        *         *      | Report:LOST,Unwatch,Remove,End           Over         removed
Parting                  LOST                        watched         *              *        *        none      *      | Report:LOST,Unwatch                      =            removed
Parting                  LOST                        watched         *              *        *        *         *      | Report:LOST,Unwatch                      =            cleared,removed
Parting                  LOST                        resting         *              *        *        *         *      | Report:LOST                              =            cleared,removed
Remaining                LOST                        watched         *              *        *        *         *      | Survey,Report:LOST,Unwatch               Sweeping     removed
Remaining                LOST                        resting         *              *        *        *         *      | Survey,Report:LOST                       Sweeping     removed
ALIVE                    LOST                        watched         *              no       *        *         *      | STOP,Report:LOST,Unwatch                 Stopping     removed
ALIVE                    LOST                        resting         *              no       *        *         *      | Report:LOST                              Stopping     removed
ALIVE                    LOST                        watched         *              yes      *        *         *      | RunCommand,Report:LOST,Unwatch           Commanding   removed
ALIVE                    LOST                        resting         *              yes      *        *         *      | RunCommand,Report:LOST                   Commanding   removed
ALIVE                    *                           *               *              *        *        *         *      | -                                        =            -

Commanding               Ended/Ended:1/Ended:?       *               *              *        *        *         *      | -                                        Outliving    -
Commanding               CommandEnded                resting         *              *        *        *         *      | -                                        Stopping     -
Commanding               CommandEnded                *               *              *        *        *         *      | STOP                                     Stopping     -
Commanding               Ticked                      resting         *              *        *        due/old   *      | KillCommand                              Stopping     -
Commanding               Ticked                      *               *              *        *        due/old   *      | KillCommand,STOP                         Stopping     -

Outliving                CommandEnded                gone/resting    process/group  *        *        *         *      | Remove,End                               Over         -
Outliving                CommandEnded                *               process/group  *        *        *         *      | Placeholder,Report:Restarting:0s         Waiting      -
Outliving                CommandEnded                *               *              *        *        *         *      | Survey                                   Sweeping     -
Outliving                Ticked                      gone/resting    process/group  *        *        due/old   *      | KillCommand,Remove,End                   Over         -
Outliving                Ticked                      *               process/group  *        *        due/old   *      | KillCommand,Placeholder,Report:Restarting:0s Waiting  -
Outliving                Ticked                      *               *              *        *        due/old   *      | KillCommand,Survey                       Sweeping     -
Outliving                TERM/USR1/Died              *               *              *        *        *         *      | -                                        =            -

Stopping                 Ended/Ended:1               gone/resting    process/group  *        *        *         *      | Remove,End                               Over         -
Stopping                 Ended:?                     gone/resting    process/group  *        *        *         *      | Remove                                   Closing      -
Stopping                 Ended/Ended:1/Ended:?       *               process/group  *        *        *         *      | Placeholder,Report:Restarting:0s         Waiting      -
Stopping                 Ended/Ended:1/Ended:?       *               *              *        *        *         *      | Survey                                   Sweeping     -
Stopping                 Ticked                      resting         *              *        *        due/old   *      | Kill:KILL~                               =            waits
Stopping                 Ticked                      *               *              *        *        due/old   *      | Kill:KILL~                               =            cleared

Sweeping                 TERM                        watched         *              *        *        none      *      | Kill:TERM:tree,Unwatch                   =            waits
Sweeping                 TERM                        watched         *              *        *        *         *      | Kill:TERM:tree,Unwatch                   =            -
Sweeping                 TERM                        *               *              *        *        *         *      | Kill:TERM:tree                           =            -
Sweeping                 USR1                        *               *              *        *        *         *      | Kill:USR1:tree                           =            -
Sweeping                 Left                        *               *              *        *        none      *      | Kill:KILL:tree                           =            -
Sweeping                 Left                        *               *              *        *        due       *      | Kill:KILL:tree                           =            waits
Sweeping                 Ticked                      *               *              *        *        due       *      | Kill:KILL:tree                           =            waits
Sweeping                 NoneLeft                    gone/resting    *              *        *        *         *      | Remove,End                               Over         -
Sweeping                 NoneLeft                    *               *              *        *        *         *      | Placeholder,Report:Restarting:0s         Waiting      -
Sweeping                 Died                        *               *              *        *        *         *      | -                                        =            -

Commanding/Stopping      Died                        watched         *              *        *        *         *      | Placeholder                              =            -
Stopping                 TERM                        watched         *              *        *        none      *      | Kill:TERM~,Unwatch                       =            waits
Commanding/Stopping      TERM                        watched         *              *        *        *         *      | Kill:TERM~,Unwatch                       =            -
Commanding/Stopping      TERM                        *               *              *        *        *         *      | Kill:TERM~                               =            -
Commanding/Stopping      USR1                        *               *              *        *        *         *      | Kill:USR1~                               =            -

DYING                    LOOKS                       none/gone       *              *        *        *         *      | -                                        =            -
DYING                    Rewritten                   *               *              *        *        *         *      | Adopt                                    =            -
DYING                    Unknown                     *               *              *        *        *         *      | Report:FileUnknown                       =            -
DYING                    Removed:own                 resting         *              *        *        *         *      | -                                        =            -
DYING                    Moving                      *               *              *        *        none      *      | -                                        =            waits
DYING                    DOUBTS                      *               *              *        *        none      100ms  | -                                        =            waits
DYING                    DOUBTS                      *               *              *        *        *         100ms  | -                                        =            -
DYING                    Unfinished                  *               *              *        *        none      *      | -                                        =            waits
DYING                    Changed                     *               *              *        *        *         *      | Report:FileChanged                       =            -
Stopping                 Removed/Removed:own/Replaced resting        *              *        *        none      *      | Report:LOST                              =            cleared,removed
Sweeping                 Removed/Removed:own/Replaced resting        *              *        *        none      *      | Report:LOST                              =            waits,removed
DYING                    Removed/Removed:own/Replaced resting        *              *        *        *         *      | Report:LOST                              =            removed
DYING                    Removed/Removed:own/Replaced *              *              *        *        *         *      | Report:LOST,Unwatch                      =            removed
DYING                    ConditionsFail              none            *              *        *        *         0      | Report:ConditionFailed                   =            removed
DYING                    ConditionsFail              watched         *              *        *        *         0      | Report:ConditionFailed,Unwatch           =            removed
DYING                    ConditionsFail              none/watched    *              *        *        none      *      | -                                        =            waits
DYING                    *                           *               *              *        *        *         *      | -                                        =            -
`

// groups are what some words of the table stand for.
var groups = strings.NewReplacer(
	"ALIVE", "Waiting/Waiting:first/Rising/Answering/Parting/Running/Draining/Remaining",
	"DYING", "Commanding/Outliving/Stopping/Sweeping",
	"LOOKS", "Present/Removed/Removed:own/Moving/Rewritten/Replaced/Changed/Unfinished/Unknown",
	"DOUBTS", "Removed/Removed:own/Replaced/Changed/Unfinished",
)

const lostEvents = "Removed/Removed:own/Replaced/Unfinished"

// situation is one line of the table's left side.
type situation [8]string

// The columns.
const (
	inState = iota
	atEvent
	withFile
	inMode
	hasCommand
	withRestart
	atTime
	withSettle
)

// tableRow is what a line expects, and whether any situation fitted it.
type tableRow struct {
	line                   string
	fits                   [8][]string // nil: anything does
	actions, next, learned string
	used                   bool
}

func (r *tableRow) match(s situation) bool {
	for i, want := range r.fits {
		if want != nil && !slices.Contains(want, s[i]) {
			return false
		}
	}
	return true
}

func parseTable(t *testing.T) (rows []*tableRow) {
	t.Helper()
	for _, line := range strings.Split(machineTable, "\n")[2:] {
		if strings.TrimSpace(line) == "" {
			continue
		}
		left, right, _ := strings.Cut(line, "|")
		l, r := strings.Fields(groups.Replace(left)), strings.Fields(right)
		if len(l) != 8 || len(r) != 3 {
			t.Fatalf("a row needs eight columns, a bar and three more: %s", line)
		}
		row := &tableRow{line: line, actions: r[0], next: r[1], learned: r[2]}
		for i, want := range l {
			if i == atEvent && want == "LOST" {
				want = lostEvents
			}
			if want != "*" {
				row.fits[i] = strings.Split(want, "/")
			}
		}
		rows = append(rows, row)
	}
	return rows
}

var killModes = []string{plan.KillMixed: "mixed", plan.KillProcess: "process", plan.KillGroup: "group", plan.KillTree: "tree"}

// tableColumns has every value of each column.
func tableColumns() [8][]string {
	events := []string{"TERM", "USR1", "Removed:own", "Ended:1", "Ended:?", "Explained:?"}
	for _, name := range kindNames {
		if name != "Signaled" {
			events = append(events, name)
		}
	}
	return [8][]string{
		append(slices.Clone(stateNames), "Waiting:first"),
		events,
		{"none", "watched", "resting", "gone"},
		killModes,
		{"no", "yes"},
		{"no", "always"},
		{"none", "ahead", "due", "old"},
		{"0", "100ms"},
	}
}

func TestTable(t *testing.T) {
	rows := parseTable(t)
	tried := map[string]bool{}
	all := tableColumns()
	all[atEvent] = []string{""}
	forEach(all, func(s situation) {
		if reach(t, s) == nil {
			return
		}
		for _, event := range tableColumns()[atEvent] {
			s[atEvent] = event
			tried[s[inState]+" "+event] = true
			tryRow(t, rows, s)
		}
	})
	for _, r := range rows {
		if !r.used {
			t.Errorf("no situation fits the row: %s", r.line)
		}
	}
	for _, state := range tableColumns()[inState] {
		for _, event := range tableColumns()[atEvent] {
			if !tried[state+" "+event] {
				t.Errorf("%s was not tried in %s", event, state)
			}
		}
	}
}

// forEach calls f with every combination of the columns' values.
func forEach(columns [8][]string, f func(situation)) {
	var fill func(s situation, i int)
	fill = func(s situation, i int) {
		if i == len(columns) {
			f(s)
			return
		}
		for _, value := range columns[i] {
			s[i] = value
			fill(s, i+1)
		}
	}
	fill(situation{}, 0)
}

func tryRow(t *testing.T, rows []*tableRow, s situation) {
	t.Helper()
	i := slices.IndexFunc(rows, func(r *tableRow) bool { return r.match(s) })
	if i < 0 {
		t.Fatalf("no row fits %v", s)
	}
	rows[i].used = true
	m := reach(t, s)
	deadline, result, state := m.Deadline(), m.Result(), stateNames[m.state]
	actions := actionText(m.Handle(noon, eventOf(s[atEvent])))
	next, learned := stateNames[m.state], "-"
	if words := learnedWords(m, deadline, result, state == next); len(words) > 0 {
		learned = strings.Join(words, ",")
	}
	target := map[string]string{"group": ":group", "tree": ":tree"}[s[inMode]]
	lost := map[bool]string{true: "FileRemoved", false: "FileReplaced"}[strings.HasPrefix(s[atEvent], "Removed")]
	want := strings.NewReplacer("STOP", "Kill:TERM~,Kill:CONT~", "LOST", lost).Replace(rows[i].actions)
	want = strings.ReplaceAll(want, "~", target)
	wantNext := strings.Replace(rows[i].next, "=", state, 1)
	if actions != want || next != wantNext || learned != rows[i].learned {
		t.Errorf("%v:\n got  %s %s %s\n want %s", s, actions, next, learned, rows[i].line)
	}
}

// learnedWords compares two moments of a machine. Another state has another deadline.
func learnedWords(m *Machine, deadline time.Time, before Result, same bool) (words []string) {
	now, after := m.Deadline(), m.Result()
	switch {
	case !same || now.Equal(deadline):
	case now.IsZero():
		words = append(words, "cleared")
	default:
		words = append(words, "waits")
	}
	if after.Removed && !before.Removed {
		words = append(words, "removed")
	}
	if after.Up && !before.Up {
		words = append(words, "up")
	}
	if after.Err != nil && before.Err == nil {
		words = append(words, "failed")
	}
	return words
}

// happening is an event and when it is.
type happening struct {
	before time.Duration // before noon
	event  string
}

// reach makes a machine that is in the situation at noon, by events alone; nil: there is none.
func reach(t *testing.T, s situation) *Machine {
	t.Helper()
	state := s[inState]
	events := eventsTo(s)
	if events == nil {
		return nil
	}
	p := &plan.Plan{
		KillMode: plan.KillMode(slices.Index(killModes, s[inMode])),
		Stop:     plan.Schedule{{Signal: 15}, {Wait: 10 * time.Second}, {Signal: 9}},
		Forking:  state == "Detaching" || state == "Finding" || state == "Succeeding",
		Settle:   settles[s[withSettle]],
		Restart:  plan.Restart{Delay: time.Hour},
	}
	p.Ready.Given = state == "Rising"
	if s[withFile] != "none" {
		p.PIDFile = "/run/program.pid"
	}
	p.WaitAll = state == "Remaining"
	if state == "Draining" {
		p.Drain = time.Hour
	}
	if s[hasCommand] == "yes" {
		p.StopCommand = "command"
	}
	if s[withRestart] == "always" {
		p.Restart.Policy = plan.RestartAlways
	}
	answers := state == "Answering" || state == "Parting" || state == "Lingering"
	if answers {
		p.Way = plan.Daemon
	}
	m := New(p, answers, func() float64 { return 0 })
	slices.SortStableFunc(events, func(a, b happening) int { return int(b.before - a.before) })
	for _, e := range events {
		m.Handle(noon.Add(-e.before), eventOf(e.event))
	}
	if want, _, _ := strings.Cut(state, ":"); stateNames[m.state] != want {
		t.Fatalf("%v: the state is %s after %v", s, stateNames[m.state], events)
	}
	return m
}

var settles = map[string]time.Duration{"0": 0, "100ms": 100 * time.Millisecond}

// long is how long ago it began.
const long = 2 * time.Hour

// eventsTo are those that lead to a situation; nil: none do.
func eventsTo(s situation) []happening {
	state, file, at := s[inState], s[withFile], s[atTime]
	launched := []happening{{long, "Began"}, {long, "Launched"}}
	plain := file == "none" || file == "watched"
	switch state {
	case "Idle":
		if plain && at == "none" {
			return []happening{}
		}
	case "Launching":
		if plain && at == "none" {
			return launched[:1]
		}
	case "Over":
		if plain && at == "none" && s[inMode] != "tree" && s[withRestart] == "no" {
			return append(launched, happening{0, "Ended"})
		}
	case "Waiting":
		if plain && s[withRestart] == "always" && s[inMode] != "tree" {
			return withDoubt(append(launched, happening{time.Hour / 2, "Ended"}), s)
		}
	case "Waiting:first":
		if plain {
			return withDoubt([]happening{{long, "ConditionsFail"}, {long, "Began"}}, s)
		}
	case "Rising", "Answering", "Running":
		return withDoubt(launched, s)
	case "Draining":
		if events := withDoubt(launched, s); events != nil && s[withFile] != "resting" {
			return append(events, happening{time.Minute, "TERM"})
		}
	case "Remaining":
		if s[inMode] != "tree" {
			return withDoubt(append(launched, happening{time.Hour, "Ended"}, happening{time.Hour, "Left"}, happening{1, "Ticked"}), s)
		}
	case "Parting":
		if events := withDoubt(launched, s); events != nil {
			return append(events, happening{0, "Ended"})
		}
	case "Detaching", "Finding", "Succeeding":
		return eventsToDaemon(s, launched)
	case "Commanding", "Outliving", "Stopping", "Sweeping":
		return eventsToStop(s, launched)
	case "Lingering", "Closing":
		return eventsToEnd(s, launched)
	}
	return nil
}

// withDoubt adds a doubt about the file, as old as wanted, and a TERM that has the watch rest.
func withDoubt(events []happening, s situation) []happening {
	if s[withFile] == "gone" || s[withFile] == "none" && s[atTime] != "none" {
		return nil
	}
	if s[withFile] == "resting" {
		events = append(events, happening{farewell / 2, "TERM"})
	}
	step := settles[s[withSettle]]
	if step == 0 {
		step = patienceStep
	}
	switch s[atTime] {
	case "ahead":
		return append(events, happening{step - 1, "Unfinished"})
	case "due":
		return append(events, happening{step, "Unfinished"})
	case "old":
		return append(events, happening{patience, "Unfinished"})
	}
	return events
}

func eventsToDaemon(s situation, launched []happening) []happening {
	at := s[atTime]
	if s[withRestart] != "no" || s[withFile] != "none" && s[withFile] != "watched" {
		return nil
	}
	switch state := s[inState]; {
	case state == "Detaching" && at == "none":
		return launched
	case state == "Finding" && (at == "ahead" || at == "due"):
		ago := map[string]time.Duration{"ahead": 0, "due": seekFast}
		return append(launched, happening{ago[at], "Ended"})
	case state == "Succeeding" && at != "none" && s[withFile] == "watched":
		ago := map[string]time.Duration{"ahead": 0, "due": successionStep, "old": succession}
		return append(launched, happening{time.Hour, "Ended"}, happening{time.Hour, "Found"}, happening{ago[at], "Ended"})
	}
	return nil
}

// eventsToStop lead to a program that is stopped: for good, or to be started again.
func eventsToStop(s situation, launched []happening) []happening {
	state, file, at := s[inState], s[withFile], s[atTime]
	wantsCommand := state == "Commanding" || state == "Outliving"
	sweeps := s[inMode] == "mixed" || s[inMode] == "tree"
	switch {
	case wantsCommand != (s[hasCommand] == "yes"), wantsCommand && at == "none":
		return nil
	case state == "Sweeping" && (!sweeps || at == "old"):
		return nil
	}
	ago := map[string]time.Duration{"none": time.Hour, "ahead": 10*time.Second - 1, "due": 10 * time.Second, "old": time.Hour}[at]
	events := slices.Concat(launched, []happening{{ago, "Asked"}})
	if file == "gone" {
		events = slices.Concat(launched, []happening{{ago + settles[s[withSettle]], "Removed"}, {ago, "Removed"}})
	}
	if file == "resting" {
		events = append(events, happening{farewell / 2, "TERM"})
	}
	switch state {
	case "Outliving":
		if file == "resting" {
			ago = min(ago, farewell/2) // then nobody is there to have a TERM
		}
		events = append(events, happening{ago, "Ended"})
	case "Sweeping":
		events = append(events, happening{ago, "Ended"}, happening{ago, "Left"})
		if at == "none" {
			events = append(events, happening{ago - 10*time.Second, "Ticked"})
		}
		return append(events, happening{1, "Ticked"}) // the next look is ahead
	case "Stopping":
		if at == "none" {
			events = append(events, happening{ago - 10*time.Second, "Ticked"})
		}
	}
	return events
}

func eventsToEnd(s situation, launched []happening) []happening {
	state, file, at := s[inState], s[withFile], s[atTime]
	if at != "ahead" && at != "due" || s[withRestart] != "no" || s[inMode] == "tree" {
		return nil
	}
	switch {
	case state == "Lingering" && file == "watched":
		ago := map[string]time.Duration{"ahead": linger - 1, "due": linger}[at]
		return append(launched, happening{ago, "Answered"}, happening{ago, "Ended"})
	case state == "Closing" && (file == "none" || file == "watched"):
		ago := map[string]time.Duration{"ahead": ReapLimit - 1, "due": ReapLimit}[at]
		return append(launched, happening{ago, "Ended:?"})
	}
	return nil
}
