// Reads a list of simulations (JSON) and prints what becomes of each: "Allowed", "ImplicitlyDenied", …
import { readFileSync } from 'node:fs'
import { runSimulation } from '@cloud-copilot/iam-simulate'

const results = []
for (const simulation of JSON.parse(readFileSync(0, 'utf8'))) {
  const answer = await runSimulation(simulation, {})
  results.push(answer.resultType === 'error' ? answer : (answer.overallResult ?? answer.analysis?.result))
}
console.log(JSON.stringify(results))
